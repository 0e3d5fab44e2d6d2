"""k8s/ is understood: every object by its schema, every value by Dapr's chart; kube-score finds nothing critical."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import cast

import kubernetes_validate
import pytest
import yaml

from tests.contract import crds
from tests.contract.go_programs import programs
from tests.contract.kustomize import OVERLAYS, render, rendered
from tests.contract.manifests import OBJECTS, RENDERED, objects
from tests.rules.repository import ROOT, Mapping, Yaml, at, documents, mappings

VERSION = "1.37"
# A limit on processor time only makes slow what could be fast. And a pinned tag does not change under its name, while a
# cluster without a way out must be able to run what its nodes already have.
NOT_ASKED = ("--ignore-container-cpu-limit", "--ignore-test=container-image-pull-policy")
VALUES = sorted((ROOT / "k8s" / "dapr").glob("values-*.yaml"))


def complaints(one: Mapping) -> list[str]:
    if crds.name_of(one) in crds.validators():
        return crds.mistakes(one)
    if crds.name_of(one) in crds.EXTERNAL:
        return []
    try:
        kubernetes_validate.validate(one, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return []


@pytest.mark.parametrize("one", OBJECTS)
def test_every_object_is_what_its_kind_understands(one: Mapping) -> None:
    assert complaints(one) == []
    assert one["kind"] == "Namespace" or at(one, "metadata.namespace") == "crewmesh"


@pytest.mark.parametrize(
    ("kind", "way", "misspelt"),
    [
        ("Configuration", "spec.accessControl", "defaultActions"),
        ("Resiliency", "spec.policies", "timeout"),
        ("ScaledObject", "spec", "minReplicasCount"),
        ("ServiceMonitor", "spec", "endpoint"),
        ("PrometheusRule", "spec", "group"),
        ("NetworkPolicy", "spec", "egresss"),
    ],
)
def test_a_field_that_a_kind_does_not_have_is_seen(kind: str, way: str, misspelt: str) -> None:
    one = copy.deepcopy(next(iter(objects(kind).values())))
    cast("Mapping", at(one, way))[misspelt] = {}
    assert any(misspelt in complaint for complaint in complaints(one))


@pytest.mark.parametrize("name", OVERLAYS)
def test_kube_score_has_nothing_critical_to_say(name: str, tmp_path: Path) -> None:
    file = tmp_path / "rendered.yaml"
    file.write_text(rendered(ROOT / "k8s" / "overlays" / name))
    command = [str(programs() / "kube-score"), "score", "--kubernetes-version=v1.33", "--output-format=ci", *NOT_ASKED]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)
    said = done.stdout.splitlines()
    assert len(said) > len(RENDERED[name]), done.stderr
    assert [line for line in said if line.startswith("[CRITICAL]")] == []


def test_components_that_no_overlay_uses_render_too(tmp_path: Path) -> None:
    way = os.path.relpath(ROOT / "k8s", tmp_path)
    text = yaml.safe_dump({"resources": [f"{way}/overlays/dev"], "components": [f"{way}/components/gateway-api"]})
    (tmp_path / "kustomization.yaml").write_text(text)
    (route,) = [one for one in render(tmp_path) if one["kind"] == "HTTPRoute"]
    assert complaints(route) == []


def test_every_component_is_seen_by_a_test() -> None:
    used = {
        Path(str(name)).name
        for path in (ROOT / "k8s" / "overlays").glob("*/kustomization.yaml")
        for name in cast("list[Yaml]", documents(path)[0].get("components", []))
    }
    assert used | {"gateway-api"} == {path.name for path in (ROOT / "k8s" / "components").iterdir()}


class TestScaling:
    @pytest.mark.parametrize("trigger", [
        pytest.param(trigger, id=f"{name}-{number}")
        for name, one in objects("ScaledObject").items()
        for number, trigger in enumerate(mappings(at(one, "spec.triggers")))
    ])  # fmt: skip
    def test_a_signal_is_told_as_keda_reads_it(self, trigger: Mapping) -> None:
        written = crds.keda_files() / "schema" / "generated" / "scalers-schema.json"
        scalers = mappings(cast("Mapping", json.loads(written.read_text()))["scalers"])
        (scaler,) = [each for each in scalers if each["type"] == trigger["type"]]
        known = {str(each["name"]) for each in mappings(scaler["parameters"])}
        assert set(cast("Mapping", trigger["metadata"])) <= known

    @pytest.mark.parametrize("overlay", ["production", "production-plain"])
    def test_nobody_is_ever_scaled_to_none_or_twice(self, overlay: str) -> None:
        keda, plain = objects("ScaledObject", overlay), objects("HorizontalPodAutoscaler", overlay)
        assert set(keda) ^ set(plain) == {"gateway", "workflow", "agent-crew", "integration", "knowledge", "kong"}
        least = [at(one, "spec.minReplicaCount") for one in keda.values()]
        least += [at(one, "spec.minReplicas") for one in plain.values()]
        assert all(isinstance(each, int) and each >= 2 for each in least)

    def test_both_ways_have_the_same_bounds(self) -> None:
        keda, plain = objects("ScaledObject"), objects("HorizontalPodAutoscaler", "production-plain")
        for app, one in keda.items():
            assert at(one, "spec.maxReplicaCount") == at(plain[app], "spec.maxReplicas")

    def test_who_is_scaled_by_prometheus_does_not_shrink_when_it_is_away(self) -> None:
        for name, one in objects("ScaledObject").items():
            asks = [each for each in mappings(at(one, "spec.triggers")) if each["type"] == "prometheus"]
            assert bool(asks) == bool(at(one, "spec.fallback")), name
            assert all(at(each, "metadata.ignoreNullValues") == "false" for each in asks)


class TestChart:
    @pytest.mark.parametrize("path", VALUES, ids=lambda path: path.stem)
    def test_the_chart_knows_every_value(self, path: Path) -> None:
        chart = crds.dapr_files() / "charts" / "dapr"
        for name, told in documents(path)[0].items():
            place = chart / "values.yaml" if name == "global" else chart / "charts" / name / "values.yaml"
            (known,) = documents(place)
            assert unknown(told, known["global"] if name == "global" else known) == []

    def test_three_of_everything_that_must_not_be_lost(self) -> None:
        (values,) = documents(ROOT / "k8s" / "dapr" / "values-ha.yaml")
        assert at(values, "global.ha.enabled") is True
        assert at(values, "global.ha.replicaCount") == 3
        assert at(values, "global.mtls.enabled") is True
        assert at(values, "dapr_scheduler.cluster.storageSize") == "16Gi"

    @pytest.mark.parametrize("path", VALUES, ids=lambda path: path.stem)
    def test_no_pod_comes_to_be_without_its_sidecar(self, path: Path) -> None:
        (values,) = documents(path)
        assert at(values, "dapr_sidecar_injector.webhookFailurePolicy") == "Fail"
        assert at(values, "dapr_sidecar_injector.sidecarDropALLCapabilities") is True


def unknown(told: Yaml, known: Yaml, way: str = "") -> list[str]:
    """Values that a chart would pass over. Where it has an empty map, everything is allowed."""
    if not isinstance(told, dict) or not isinstance(known, dict) or not known:
        return []
    found = [f"{way}{name}" for name in told if name not in known]
    for name, value in told.items():
        found += unknown(value, known.get(name), f"{way}{name}.")
    return found
