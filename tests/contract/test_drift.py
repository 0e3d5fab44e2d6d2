"""One mesh in three descriptions: dapr.yaml, docker-compose.yml and k8s/ say the same, and only what settings know."""

from __future__ import annotations

import re
from typing import cast

import pytest
from crewmesh_kit.http.middleware import OPEN_PATHS
from crewmesh_kit.settings_reference import settings_page
from crewmesh_tools.reference import SERVICES as PACKAGES
from crewmesh_tools.reference import settings_of

from tests.contract.manifests import RENDERED, objects, the_app, told_to_the_sidecar, variables
from tests.rules.repository import ROOT, SERVICES, Mapping, at, documents, mappings

LOCAL = documents(ROOT / "dapr.yaml")[0]
APPS = {str(app["appID"]): app for app in mappings(LOCAL["apps"])}
COMPOSE = cast("dict[str, Mapping]", documents(ROOT / "docker-compose.yml")[0]["services"])
SETTINGS = settings_page({app: settings_of(package) for app, package in PACKAGES.items()})
# Written by what starts a service, and no setting of ours.
OF_OTHERS = {"APP_ID", "OTEL_EXPORTER_OTLP_ENDPOINT"}
# What bounds the longest piece of work that an app does at a time: a setting, or a resiliency policy in that file.
LONGEST = {
    "gateway": ("", r"`CREWMESH_PROXY__FIRST_BYTE_SECONDS` \|[^|]*\| `([\d.]+)`"),
    "workflow": ("dapr-config/policies/from-the-engine.yaml", r"\n      send: (\d+)s"),
    "agent-crew": ("", r"`CREWMESH_MODEL__TIMEOUT_SECONDS` \|[^|]*\| `([\d.]+)`"),
    "integration": ("dapr-config/policies/from-the-engine.yaml", r"\n      send: (\d+)s"),
    "knowledge": ("dapr-config/policies/from-the-engine.yaml", r"\n      answer: (\d+)s"),
}


def known_settings(app: str) -> set[str]:
    """As the reference page tells them."""
    common, *parts = re.split(r"^## ", SETTINGS, flags=re.M)
    sections = {part.splitlines()[0]: part for part in [*parts, common]}
    text = sections["Every service"] + sections[app]
    return set(re.findall(r"^\| `([A-Z_0-9]+)` \|", text, flags=re.M))


def in_compose(app: str) -> Mapping:
    told = COMPOSE[app].get("environment") or {}
    assert isinstance(told, dict)
    return told


def in_kubernetes(app: str, overlay: str = "production") -> dict[str, Mapping]:
    container = the_app(app, overlay)
    found = variables(container)
    for source in mappings(container.get("envFrom")):
        if name := at(source, "configMapRef.name"):
            data = cast("Mapping", objects("ConfigMap", overlay)[str(name)]["data"])
            found |= {key: {"name": key, "value": value} for key, value in data.items()}
    return found


def test_the_same_apps_everywhere() -> None:
    assert tuple(APPS) == SERVICES
    assert set(SERVICES) <= set(COMPOSE)
    for overlay in RENDERED:
        deployed = objects("Deployment", overlay)
        told = {
            str(cast("Mapping", at(one, "spec.template.metadata.annotations"))["dapr.io/app-id"])
            for one in deployed.values()
            if at(one, "spec.template.metadata.annotations")
        }
        assert told == {*SERVICES, "kong"}


@pytest.mark.parametrize("app", SERVICES)
class TestApp:
    def test_it_listens_where_everybody_looks(self, app: str) -> None:
        port = APPS[app]["appPort"]
        (service,) = mappings(at(objects("Service")[app], "spec.ports"))
        assert service["port"] == port
        assert [each["containerPort"] for each in mappings(the_app(app)["ports"])] == [port]
        assert told_to_the_sidecar(app)["dapr.io/app-port"] == str(port)
        assert in_kubernetes(app)["APP_PORT"]["value"] == in_compose(app)["APP_PORT"] == str(port)
        dockerfile = (ROOT / "services" / app / "Dockerfile").read_text()
        assert f"EXPOSE {port}\n" in dockerfile

    def test_its_sidecar_is_told_the_same(self, app: str) -> None:
        said = told_to_the_sidecar(app)
        assert (said["dapr.io/app-id"], said["dapr.io/config"]) == (app, app)
        assert str(APPS[app]["configFilePath"]).endswith(f"dapr-config/{said['dapr.io/config']}.yaml")
        common = cast("Mapping", LOCAL["common"])
        assert (said["dapr.io/max-body-size"], said["dapr.io/read-buffer-size"]) == (
            common["maxBodySize"],
            common["readBufferSize"],
        )
        for name, annotation in {"DAPR_API_TOKEN": "api-token-secret", "APP_API_TOKEN": "app-token-secret"}.items():
            reference = at(in_kubernetes(app)[name], "valueFrom.secretKeyRef.name")
            assert reference == said[f"dapr.io/{annotation}"]

    def test_no_description_names_a_setting_that_it_does_not_have(self, app: str) -> None:
        named = set(in_compose(app)) | set(cast("Mapping", APPS[app]["env"]))
        for overlay in RENDERED:
            named |= set(in_kubernetes(app, overlay))
        settings = known_settings(app) | OF_OTHERS
        assert {name.removesuffix("_FILE") for name in named} - settings == set()

    def test_what_both_deployments_say_they_say_alike(self, app: str) -> None:
        here, there = in_compose(app), in_kubernetes(app, "dev")
        for name in set(here) & set(there):
            value = re.sub(r"^\$\{[A-Z_]+:-(.*)\}$", r"\1", str(here[name]))
            if "value" in there[name]:
                assert value == there[name]["value"], name

    def test_it_is_probed_at_paths_that_need_no_token(self, app: str) -> None:
        container = the_app(app)
        probes = {
            kind: at(container, f"{kind}.httpGet.path") for kind in ("livenessProbe", "readinessProbe", "startupProbe")
        }
        assert probes == {"livenessProbe": "/healthz", "readinessProbe": "/readyz", "startupProbe": "/healthz"}
        assert set(probes.values()) <= OPEN_PATHS
        assert [at(container, f"{kind}.httpGet.port") for kind in probes] == ["http"] * 3
        assert "/readyz" in str(at(COMPOSE[app], "healthcheck.test"))
        assert "/healthz" in (ROOT / "services" / app / "Dockerfile").read_text()

    def test_it_may_finish_its_longest_piece_of_work(self, app: str) -> None:
        place, pattern = LONGEST[app]
        found = re.search(pattern, (ROOT / place).read_text() if place else SETTINGS)
        assert found
        assert float(str(in_kubernetes(app)["CREWMESH_HTTP__SHUTDOWN_SECONDS"]["value"])) > float(found[1])


def test_all_run_the_same_images() -> None:
    built = {str(container["image"]) for container in COMPOSE.values()}
    for name, one in objects("Deployment", "dev").items():
        for container in mappings(at(one, "spec.template.spec.containers")):
            assert str(container["image"]) in built, name


def test_the_same_components_and_policies_under_the_same_names() -> None:
    local = {path.stem for path in (ROOT / "components" / "local").glob("*.yaml")}
    assert set(objects("Component")) == local
    for name in local:
        (here,) = documents(ROOT / "components" / "local" / f"{name}.yaml")
        assert at(objects("Component")[name], "scopes") == here["scopes"]


def test_replicas_are_counted_by_metrics_that_exist() -> None:
    told = "\n".join(path.read_text() for path in ROOT.glob("services/**/src/**/metrics.py"))
    for name, one in objects("ScaledObject").items():
        for trigger in mappings(at(one, "spec.triggers")):
            for metric in re.findall(r"crewmesh_\w+", str(at(trigger, "metadata.query") or "")):
                assert f'"{metric}"' in told, name


def test_the_chart_of_dapr_is_that_of_the_mesh() -> None:
    pinned = re.search(r"github\.com/dapr/dapr v(\S+)", (ROOT / "dapr-config/runtime/go.mod").read_text())
    assert pinned
    for place in ("docs/operate/kubernetes.md", "k8s/dapr/values-ha.yaml"):
        assert f"--version {pinned[1]}" in (ROOT / place).read_text(), place
