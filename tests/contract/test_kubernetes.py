"""k8s/ as a cluster would get it: valid, hardened, without a secret, and true to dapr.yaml."""

from __future__ import annotations

from typing import cast

import kubernetes_validate
import pytest

from tests.contract.dapr_kinds import ANNOTATIONS, AnyResource
from tests.contract.kustomize import render
from tests.rules.repository import ROOT, SERVICES, Mapping, at, documents, mappings, strings

VERSION = "1.37"
OVERLAYS = {name: render(ROOT / "k8s" / "overlays" / name) for name in ("dev", "production")}
OBJECTS = [
    pytest.param(one, id=f"{overlay}/{one['kind']}/{at(one, 'metadata.name')}")
    for overlay, objects in OVERLAYS.items()
    for one in objects
]
PODS = [param for param in OBJECTS if cast("Mapping", param.values[0])["kind"] in ("Deployment", "Job")]


def objects(kind: str) -> dict[str, Mapping]:
    return {str(at(one, "metadata.name")): one for one in OVERLAYS["production"] if one["kind"] == kind}


def containers(workload: Mapping) -> list[Mapping]:
    found = mappings(at(workload, "spec.template.spec.containers"))
    assert found
    return found


def told_to_the_sidecar(app: str) -> Mapping:
    return cast("Mapping", at(objects("Deployment")[app], "spec.template.metadata.annotations"))


@pytest.mark.parametrize("one", OBJECTS)
def test_every_object_is_what_kubernetes_or_dapr_understands(one: Mapping) -> None:
    if str(one["apiVersion"]).startswith("dapr.io/"):
        AnyResource.model_validate({"resource": one})
    else:
        kubernetes_validate.validate(one, VERSION, strict=True)
    assert one["kind"] == "Namespace" or at(one, "metadata.namespace") == "crewmesh"


@pytest.mark.parametrize("workload", PODS)
def test_nothing_runs_as_root_or_may_become_it(workload: Mapping) -> None:
    pod = at(workload, "spec.template.spec")
    assert at(pod, "securityContext.runAsNonRoot") is True
    assert cast("int", at(pod, "securityContext.runAsUser")) > 0
    assert at(pod, "securityContext.seccompProfile.type") == "RuntimeDefault"
    for container in containers(workload):
        assert at(container, "securityContext.allowPrivilegeEscalation") is False
        assert at(container, "securityContext.readOnlyRootFilesystem") is True
        assert at(container, "securityContext.capabilities.drop") == ["ALL"]


@pytest.mark.parametrize("workload", PODS)
def test_every_container_is_pinned_and_bounded(workload: Mapping) -> None:
    for container in containers(workload):
        _, _, tag = str(container["image"]).partition(":")
        assert tag[:1].isdigit(), container["image"]
        for place in ("requests.cpu", "requests.memory", "limits.memory"):
            assert at(container, f"resources.{place}"), place
        if workload["kind"] == "Deployment":
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)


def test_no_manifest_holds_a_secret() -> None:
    for one in OVERLAYS["production"]:
        assert one["kind"] != "Secret"
        for container in mappings(at(one, "spec.template.spec.containers")):
            for variable in mappings(container.get("env")):
                if any(word in str(variable["name"]) for word in ("TOKEN", "PASSWORD", "KEY", "DATABASE_URL")):
                    assert "value" not in variable, variable["name"]


@pytest.mark.parametrize("app", SERVICES)
def test_an_app_is_the_same_as_in_the_multi_app_file(app: str) -> None:
    (local,) = [each for each in mappings(documents(ROOT / "dapr.yaml")[0]["apps"]) if each["appID"] == app]
    said = told_to_the_sidecar(app)
    assert (said["dapr.io/app-id"], said["dapr.io/config"]) == (app, app)
    assert said["dapr.io/app-port"] == str(local["appPort"])
    (container,) = containers(objects("Deployment")[app])
    assert [port["containerPort"] for port in mappings(container["ports"])] == [local["appPort"]]
    variables = {variable["name"]: variable for variable in mappings(container["env"])}
    assert variables["APP_PORT"]["value"] == str(local["appPort"])
    for name, annotation in {"DAPR_API_TOKEN": "api-token-secret", "APP_API_TOKEN": "app-token-secret"}.items():
        assert at(variables[name], "valueFrom.secretKeyRef.name") == said[f"dapr.io/{annotation}"]
    common = cast("Mapping", documents(ROOT / "dapr.yaml")[0]["common"])
    assert (said["dapr.io/max-body-size"], said["dapr.io/read-buffer-size"]) == (
        common["maxBodySize"],
        common["readBufferSize"],
    )


@pytest.mark.parametrize("app", [*SERVICES, "kong"])
def test_annotations_are_spelt_as_dapr_reads_them(app: str) -> None:
    assert set(told_to_the_sidecar(app)) <= ANNOTATIONS
    assert told_to_the_sidecar(app)["dapr.io/disable-builtin-k8s-secret-store"] == "true", (
        "it would pass by the secret scopes"
    )
    assert told_to_the_sidecar(app)["dapr.io/api-token-secret"]
    assert told_to_the_sidecar(app)["dapr.io/config"] in objects("Configuration")


@pytest.mark.parametrize("app", SERVICES)
def test_an_account_reads_the_secrets_of_its_app_and_its_components_only(app: str) -> None:
    allowed = {
        name
        for scope in mappings(at(objects("Configuration")[app], "spec.secrets.scopes"))
        for name in strings(scope["allowedSecrets"])
    }
    for component in objects("Component").values():
        if app in strings(component["scopes"]):
            references = [entry.get("secretKeyRef") for entry in mappings(at(component, "spec.metadata"))]
            allowed |= {str(at(reference, "name")) for reference in references if reference}
    (rule,) = mappings(objects("Role")[f"{app}-secrets"]["rules"])
    assert strings(rule["verbs"]) == ["get"]
    assert set(strings(rule["resourceNames"])) == allowed


@pytest.mark.parametrize("app", SERVICES)
def test_callers_are_known_by_the_namespace_they_live_in(app: str) -> None:
    policies = mappings(at(objects("Configuration")[app], "spec.accessControl.policies"))
    assert {str(policy["namespace"]) for policy in policies} == {"crewmesh"}
    assert {str(policy["appId"]) for policy in policies} <= set(objects("Deployment"))


def test_all_files_of_dapr_reach_the_cluster() -> None:
    for kind, folder in {"Component": "components/k8s", "Resiliency": "dapr-config/policies"}.items():
        assert set(objects(kind)) == {path.stem for path in (ROOT / folder).glob("*.yaml")}
    assert set(objects("Configuration")) == {path.stem for path in (ROOT / "dapr-config").glob("*.yaml")}


@pytest.mark.parametrize("app", [*SERVICES, "kong"])
def test_what_serves_has_an_address_a_budget_and_a_scale(app: str) -> None:
    for kind in ("Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "ServiceAccount"):
        assert app in objects(kind)
    for overlay in OVERLAYS.values():
        for scale in (one for one in overlay if one["kind"] == "HorizontalPodAutoscaler"):
            assert cast("int", at(scale, "spec.minReplicas")) >= 1


def test_nothing_reaches_anything_unless_it_is_said() -> None:
    policies = objects("NetworkPolicy")
    assert policies["deny-all"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (world,) = mappings(at(policies["integration"], "spec.egress"))
    blocks = {str(at(block, "ipBlock.cidr")): strings(at(block, "ipBlock.except")) for block in mappings(world["to"])}
    assert "169.254.0.0/16" in blocks["0.0.0.0/0"], "the cloud's metadata service"
    assert "fc00::/7" in blocks["::/0"]
