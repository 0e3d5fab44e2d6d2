"""What watches the mesh in a cluster is what watches it in compose: exporters beside it, collectors in `monitoring`."""

from __future__ import annotations

from typing import cast

import kubernetes_validate
import pytest

from tests.contract.kustomize import render
from tests.contract.manifests import containers, objects
from tests.rules.repository import ROOT, Mapping, at, documents, mappings, strings

COMPOSE = cast("dict[str, Mapping]", documents(ROOT / "docker-compose.yml")[0]["services"])
TELEMETRY = render(ROOT / "k8s" / "telemetry")
EXPORTERS = ("postgres-exporter", "valkey-exporter")
VERSION = "1.37"


def telemetry(kind: str, name: str) -> Mapping:
    (found,) = [one for one in TELEMETRY if one["kind"] == kind and at(one, "metadata.name") == name]
    return found


def workloads() -> list[Mapping]:
    return [telemetry("Deployment", "otel-collector"), telemetry("DaemonSet", "otel-logs")]


@pytest.mark.parametrize("one", TELEMETRY, ids=lambda one: str(one["kind"]))
def test_every_object_is_what_its_kind_understands(one: Mapping) -> None:
    kubernetes_validate.validate(one, VERSION, strict=True)
    assert at(one, "metadata.namespace") == "monitoring"


@pytest.mark.parametrize("workload", workloads(), ids=lambda one: str(one["kind"]))
def test_a_collector_is_that_of_compose_and_finds_its_files(workload: Mapping) -> None:
    (container,) = containers(workload)
    assert container["image"] == COMPOSE["otel-collector"]["image"]
    (told,) = [one for one in TELEMETRY if one["kind"] == "ConfigMap"]
    files = {argument.rpartition("/")[2] for argument in strings(container["args"])}
    assert files <= set(cast("Mapping", told["data"]))
    (volume,) = [
        each for each in mappings(at(workload, "spec.template.spec.volumes")) if each["name"] == "configuration"
    ]
    assert at(volume, "configMap.name") == at(told, "metadata.name"), "it would not be replaced by another one"


def test_spans_go_to_ports_that_the_collector_serves() -> None:
    ports = {str(each["port"]) for each in mappings(at(telemetry("Service", "otel-collector"), "spec.ports"))}
    allowed = {
        str(each["port"])
        for rule in mappings(at(objects("NetworkPolicy")["monitoring"], "spec.egress"))
        for each in mappings(rule["ports"])
    }
    assert allowed <= ports
    told = documents(ROOT / "observability/otel-collector/traces.yml")[0]
    listening = cast("Mapping", at(told, "receivers.otlp.protocols"))
    assert {str(at(each, "endpoint")).rpartition(":")[2] for each in listening.values()} == allowed


def test_who_reads_the_files_of_a_node_may_do_nothing_else() -> None:
    pod = at(telemetry("DaemonSet", "otel-logs"), "spec.template.spec")
    assert at(pod, "automountServiceAccountToken") is False
    (container,) = mappings(at(pod, "containers"))
    assert at(container, "securityContext.capabilities") == {"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]}
    assert at(container, "securityContext.readOnlyRootFilesystem") is True
    writable = [str(each["mountPath"]) for each in mappings(container["volumeMounts"]) if not each.get("readOnly")]
    read = documents(ROOT / "observability/otel-collector/kubernetes.yml")[0]
    assert writable == [at(read, "extensions.file_storage.directory")]
    mounted = {str(each["mountPath"]) for each in mappings(container["volumeMounts"])}
    for pattern in strings(at(read, "receivers.file_log.include")):
        assert any(pattern.startswith(f"{place}/") for place in mounted), pattern


@pytest.mark.parametrize("name", EXPORTERS)
def test_an_exporter_is_that_of_compose(name: str) -> None:
    (container,) = containers(objects("Deployment")[name])
    assert container["image"] == COMPOSE[name]["image"]
    assert objects("ServiceAccount")["exporters"]["automountServiceAccountToken"] is False


def test_stores_are_called_the_same_everywhere() -> None:
    """Alerts and dashboards know a job and an app."""
    jobs = mappings(documents(ROOT / "observability/prometheus/compose.yml")[0]["scrape_configs"])
    (job,) = [each for each in jobs if each["job_name"] == "stores"]
    ports = {
        str(at(entry, "labels.app")): strings(entry["targets"])[0].rpartition(":")[2]
        for entry in mappings(job["static_configs"])
    }
    for name in EXPORTERS:
        (container,) = containers(objects("Deployment")[name])
        (port,) = mappings(container["ports"])
        assert (port["name"], str(port["containerPort"])) == ("metrics", ports[name.removesuffix("-exporter")])
    (endpoint,) = mappings(at(objects("PodMonitor")["crewmesh-stores"], "spec.podMetricsEndpoints"))
    rules = {str(each["targetLabel"]): each for each in mappings(endpoint["relabelings"])}
    assert rules["job"]["replacement"] == "stores"
    assert rules["app"]["regex"] == "(.+)-exporter"
