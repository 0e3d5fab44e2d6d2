"""As much of kustomize as k8s/ uses, so that the tests look at what a cluster would get, on machines without kubectl.

Resources (files and folders), namespace, labels, patches (strategic merge and JSON 6902) and replacements. A key it
does not know is refused rather than passed over. The suffix that names a ConfigMap after its content is left out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import yaml

from tests.rules.repository import Mapping, Yaml, at, documents, mappings, strings

_KNOWN = {
    "apiVersion", "kind", "namespace", "resources", "labels", "patches", "replacements", "configMapGenerator"
}  # fmt: skip
_CLUSTER_WIDE = {"Namespace"}


def render(folder: Path) -> list[Mapping]:
    """Every object of the kustomization in ``folder``."""
    rules = _kustomization(folder)
    found: list[Mapping] = []
    for name in strings(rules.get("resources")):
        path = (folder / name).resolve()
        found += render(path) if path.is_dir() else documents(path)
    found += [_config_map(folder, rule) for rule in mappings(rules.get("configMapGenerator"))]
    for rule in mappings(rules.get("patches")):
        _patch(folder, rule, found)
    for rule in mappings(rules.get("labels")):
        _label(cast("Mapping", rule["pairs"]), found)
    if namespace := rules.get("namespace"):
        for one in found:
            if one["kind"] not in _CLUSTER_WIDE:
                cast("Mapping", one["metadata"])["namespace"] = namespace
            for subject in mappings(one.get("subjects")):
                subject["namespace"] = namespace
    for rule in mappings(rules.get("replacements")):
        _replace(rule, found)
    return found


def _kustomization(folder: Path) -> Mapping:
    (path,) = [folder / name for name in ("kustomization.yaml", "Kustomization") if (folder / name).exists()]
    (rules,) = documents(path)
    unknown = set(rules) - _KNOWN
    assert not unknown, f"{path}: {unknown}"
    return rules


def _config_map(folder: Path, rule: Mapping) -> Mapping:
    data: Mapping = {name: (folder / name).read_text() for name in strings(rule["files"])}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": rule["name"]}, "data": data}


def _patch(folder: Path, rule: Mapping, found: list[Mapping]) -> None:
    text = (folder / str(rule["path"])).read_text() if "path" in rule else str(rule["patch"])
    parsed = cast("Yaml", yaml.safe_load(text))
    targets = [one for one in found if _matches(cast("Mapping", rule["target"]), one)]
    assert targets, f"the patch for {rule['target']} meets nothing"
    for one in targets:
        if isinstance(parsed, list):
            for operation in mappings(parsed):
                _operate(one, operation)
        else:
            # The name of a patch with a target is a placeholder.
            patch = {key: value for key, value in cast("Mapping", parsed).items() if key != "metadata"}
            one.update(cast("Mapping", merged(one, patch)))


def _matches(target: Mapping, one: Mapping) -> bool:
    label, _, value = str(target.get("labelSelector", "")).partition("=")
    labels = cast("Mapping", at(one, "metadata.labels") or {})
    return (
        target.get("kind", one["kind"]) == one["kind"]
        and target.get("name", at(one, "metadata.name")) == at(one, "metadata.name")
        and str(target.get("group", "")) in str(one["apiVersion"])
        and (not label or labels.get(label) == value)
    )


def _operate(one: Yaml, operation: Mapping) -> None:
    assert operation["op"] == "replace", operation
    *way, last = str(operation["path"]).strip("/").split("/")
    for step in way:
        one = one[int(step)] if isinstance(one, list) else cast("Mapping", one)[step]
    holder = cast("Mapping", one)
    assert last in holder, f"{operation['path']} does not exist"
    holder[last] = operation["value"]


def merged(base: Yaml, patch: Yaml) -> Yaml:
    """Strategic merge, as far as it is needed: lists of named things are merged by name, others replaced."""
    if isinstance(base, dict) and isinstance(patch, dict):
        both: Mapping = dict(base)
        for key, value in patch.items():
            both[key] = merged(base[key], value) if key in base else copy.deepcopy(value)
        return both
    if isinstance(base, list) and isinstance(patch, list) and all("name" in item for item in mappings(base + patch)):
        named: Mapping = {str(item["name"]): item for item in mappings(base)}
        for item in mappings(patch):
            name = str(item["name"])
            named[name] = merged(named[name], item) if name in named else copy.deepcopy(item)
        return list(named.values())
    return copy.deepcopy(patch)


def _label(pairs: Mapping, found: list[Mapping]) -> None:
    for one in found:
        places = [cast("Mapping", one["metadata"])]
        template = at(one, "spec.template")
        if isinstance(template, dict):
            places.append(cast("Mapping", template.setdefault("metadata", {})))
        for place in places:
            place["labels"] = {**cast("Mapping", place.get("labels") or {}), **pairs}


def _replace(rule: Mapping, found: list[Mapping]) -> None:
    source = cast("Mapping", rule["source"])
    (origin,) = [one for one in found if _matches(source, one)]
    value = at(origin, str(source["fieldPath"]))
    for target in mappings(rule["targets"]):
        rejected = mappings(target.get("reject"))
        for one in found:
            if _matches(cast("Mapping", target["select"]), one) and not any(_matches(no, one) for no in rejected):
                for path in strings(target["fieldPaths"]):
                    for holder, key in _holders(one, path.split(".")):
                        holder[key] = value


def _holders(one: Yaml, way: list[str]) -> Iterator[tuple[Mapping, str]]:
    step, *rest = way
    if step == "*":
        for item in mappings(one):
            yield from _holders(item, rest)
    elif not rest:
        yield cast("Mapping", one), step
    else:
        yield from _holders(cast("Mapping", one)[step], rest)
