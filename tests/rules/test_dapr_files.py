"""What Dapr reads agrees with the code: names, scopes, who may call what, which secrets exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from crewmesh_contracts.invocations import INVOCATIONS

from tests.rules.repository import ROOT, SERVICES, Mapping, at, documents, mappings, strings

LOCAL, K8S = ROOT / "components" / "local", ROOT / "components" / "k8s"


def component(path: Path) -> Mapping:
    """The one document of the file; daprd would read only the first of a resiliency file with several."""
    (document,) = documents(path)
    return document


POLICIES = [component(path) for path in sorted((ROOT / "dapr-config" / "policies").glob("*.yaml"))]


def configuration(app: str) -> Mapping:
    return component(ROOT / "dapr-config" / f"{app}.yaml")


def resiliency_policies() -> list[Mapping]:
    """One file, one policy: daprd reads only the first document of a file."""
    return [component(path) for path in sorted((ROOT / "dapr-config" / "policies").glob("*.yaml"))]


def allowed_operations(app: str) -> dict[tuple[str, str], list[str]]:
    """(caller, path) → verbs, as the configuration of the callee says."""
    return {
        (str(policy["appId"]), str(operation["name"])): strings(operation.get("httpVerb"))
        for policy in mappings(at(configuration(app), "spec.accessControl.policies"))
        for operation in mappings(policy.get("operations"))
        if operation.get("action") == "allow"
    }


def test_local_and_kubernetes_have_the_same_components_for_the_same_apps() -> None:
    assert {path.name for path in LOCAL.glob("*.yaml")} == {path.name for path in K8S.glob("*.yaml")}
    for path in LOCAL.glob("*.yaml"):
        here, there = component(path), component(K8S / path.name)
        assert at(here, "metadata.name") == at(there, "metadata.name") == path.stem
        assert here["scopes"] == there["scopes"]


@pytest.mark.parametrize(
    "path", sorted([*LOCAL.glob("*.yaml"), *K8S.glob("*.yaml")]), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_components_are_scoped_and_hold_no_secret(path: Path) -> None:
    document = component(path)
    scopes = strings(document["scopes"])
    assert scopes, "without scopes every app could use it"
    assert set(scopes) <= set(SERVICES)
    for entry in mappings(at(document, "spec.metadata")):
        if re.search(r"password|secret|key$|connectionString|Host", str(entry["name"])) and entry["name"] not in (
            "secretsFile",
        ):
            assert "secretKeyRef" in entry, f"{entry['name']} belongs in the secret store"


@pytest.mark.parametrize("app", SERVICES)
def test_an_app_lets_in_only_what_is_listed(app: str) -> None:
    document = configuration(app)
    assert at(document, "metadata.name") == app
    assert at(document, "spec.accessControl.defaultAction") == "deny"
    for policy in mappings(at(document, "spec.accessControl.policies")):
        assert policy["defaultAction"] == "deny"
    assert at(document, "spec.api.allowed"), "the API allow-list is what keeps an app from the rest of Dapr"
    scopes = mappings(at(document, "spec.secrets.scopes"))
    assert [scope["defaultAccess"] for scope in scopes] == ["deny"]


@pytest.mark.parametrize("app", SERVICES)
def test_internal_paths_are_open_exactly_to_the_callers_in_the_contracts(app: str) -> None:
    declared = {(caller, call.path): ["POST"] for call in INVOCATIONS if call.app == app for caller in call.callers}
    internal = {key: verbs for key, verbs in allowed_operations(app).items() if key[1].startswith("/internal/")}
    openapi = {("gateway", "/internal/openapi.json"): ["GET"]} if app != "gateway" else {}
    assert internal == declared | openapi


@pytest.mark.parametrize("app", SERVICES)
def test_an_app_reads_only_its_own_keys(app: str) -> None:
    (scope,) = mappings(at(configuration(app), "spec.secrets.scopes"))
    allowed = strings(scope["allowedSecrets"])
    for name in allowed:
        owner = re.match(r"(?:database-url|identity-key)-(.+)", name)
        assert owner is None or owner[1] == app


def test_resiliency_names_only_what_exists() -> None:
    known_components = {path.stem for path in LOCAL.glob("*.yaml")}
    for policy in POLICIES:
        assert set(strings(policy.get("scopes"))) <= set(SERVICES)
        assert set(at(policy, "spec.targets.apps") or {}) <= set(SERVICES)  # pyright: ignore[reportArgumentType]
        assert set(at(policy, "spec.targets.components") or {}) <= known_components  # pyright: ignore[reportArgumentType]


def test_no_breaker_stands_where_clients_choose_the_status() -> None:
    """daprd counts a 404 as a failure: at the edge, or toward the world, one client could close the door for all."""
    for policy in POLICIES:
        apps = at(policy, "spec.targets.apps")
        guarded = (
            [app for app, target in apps.items() if at(target, "circuitBreaker")] if isinstance(apps, dict) else []
        )
        assert not ("gateway" in strings(policy.get("scopes")) and guarded)
        assert "integration" not in guarded
