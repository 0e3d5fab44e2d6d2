"""k8s/ as a cluster would get it: hardened, without a secret, apart from each other, and able to leave in peace."""

from __future__ import annotations

import pytest

from tests.contract.dapr_kinds import known_annotations
from tests.contract.manifests import PODS, RENDERED, containers, objects, the_app, told_to_the_sidecar, variables
from tests.rules.repository import ROOT, SERVICES, Mapping, Yaml, at, documents, mappings, strings

TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"


def number(value: Yaml) -> float:
    assert isinstance(value, int | float | str)
    return float(value)


class TestPods:
    @pytest.mark.parametrize("workload", PODS)
    def test_nothing_runs_as_root_or_may_become_it(self, workload: Mapping) -> None:
        pod = at(workload, "spec.template.spec")
        assert at(pod, "securityContext.runAsNonRoot") is True
        assert number(at(pod, "securityContext.runAsUser")) > 0
        assert at(pod, "securityContext.seccompProfile.type") == "RuntimeDefault"
        for container in containers(workload):
            assert at(container, "securityContext.allowPrivilegeEscalation") is False
            assert at(container, "securityContext.readOnlyRootFilesystem") is True
            assert at(container, "securityContext.capabilities.drop") == ["ALL"]

    @pytest.mark.parametrize("workload", PODS)
    def test_every_container_is_pinned_and_bounded(self, workload: Mapping) -> None:
        for container in containers(workload):
            _, _, tag = str(container["image"]).rpartition(":")
            assert tag.removeprefix("v")[:1].isdigit(), container["image"]
            for place in ("requests.cpu", "requests.memory", "limits.memory", "limits.ephemeral-storage"):
                assert at(container, f"resources.{place}"), place
            if workload["kind"] == "Deployment":
                assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)

    @pytest.mark.parametrize("workload", PODS)
    def test_no_app_holds_the_token_of_its_account(self, workload: Mapping) -> None:
        assert at(workload, "spec.template.spec.automountServiceAccountToken") is False
        for container in containers(workload):
            assert TOKENS not in [mount["mountPath"] for mount in mappings(container.get("volumeMounts"))]

    @pytest.mark.parametrize("app", SERVICES)
    def test_a_sidecar_alone_gets_it_because_the_secret_store_asks_the_api_server(self, app: str) -> None:
        volume, _, place = str(told_to_the_sidecar(app)["dapr.io/volume-mounts"]).partition(":")
        assert place == TOKENS
        pod = objects("Deployment")[app]
        assert volume in [each["name"] for each in mappings(at(pod, "spec.template.spec.volumes"))]
        assert "secretstores.kubernetes" in str(objects("Component")["secretstore"])
        assert app in strings(objects("Component")["secretstore"]["scopes"])

    def test_kong_reads_no_secret_and_so_gets_none(self) -> None:
        assert "dapr.io/volume-mounts" not in told_to_the_sidecar("kong")
        assert "kong-secrets" not in objects("Role")

    @pytest.mark.parametrize("overlay", RENDERED)
    def test_no_manifest_holds_a_secret(self, overlay: str) -> None:
        for one in RENDERED[overlay]:
            assert one["kind"] != "Secret"
            workload = one["kind"] in ("Deployment", "Job")
            for name, variable in (
                (pair for each in containers(one) for pair in variables(each).items()) if workload else ()
            ):
                if any(word in name for word in ("TOKEN", "PASSWORD", "KEY", "DATABASE_URL", "DATABASE__URL")):
                    assert "value" not in variable, name


class TestSidecars:
    @pytest.mark.parametrize("app", [*SERVICES, "kong"])
    def test_annotations_are_spelt_as_dapr_reads_them(self, app: str) -> None:
        said = {name for name in told_to_the_sidecar(app) if name.startswith("dapr.io/")}
        assert said <= known_annotations()
        assert told_to_the_sidecar(app)["dapr.io/disable-builtin-k8s-secret-store"] == "true", (
            "it would pass by the secret scopes"
        )
        assert told_to_the_sidecar(app)["dapr.io/api-token-secret"]
        assert told_to_the_sidecar(app)["dapr.io/config"] in objects("Configuration")

    @pytest.mark.parametrize("app", SERVICES)
    def test_an_account_reads_the_secrets_of_its_app_and_its_components_only(self, app: str) -> None:
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
    def test_callers_are_known_by_the_namespace_they_live_in(self, app: str) -> None:
        policies = mappings(at(objects("Configuration")[app], "spec.accessControl.policies"))
        assert {str(policy["namespace"]) for policy in policies} == {"crewmesh"}
        assert {str(policy["appId"]) for policy in policies} <= set(objects("Deployment"))

    def test_all_files_of_dapr_reach_the_cluster(self) -> None:
        for kind, folder in {"Component": "components/k8s", "Resiliency": "dapr-config/policies"}.items():
            assert set(objects(kind)) == {path.stem for path in (ROOT / folder).glob("*.yaml")}
        assert set(objects("Configuration")) == {path.stem for path in (ROOT / "dapr-config").glob("*.yaml")}


class TestLeaving:
    """A replica that is told to go: others hear of it, it finishes what it has in hand, then its sidecar goes."""

    @pytest.mark.parametrize("app", SERVICES)
    def test_the_time_to_leave_holds_everything_that_takes_time(self, app: str) -> None:
        pod = objects("Deployment")[app]
        told_first = 25
        assert f"time.sleep({told_first})" in str(at(the_app(app), "lifecycle.preStop.exec.command"))
        in_hand = number(variables(the_app(app))["CREWMESH_HTTP__SHUTDOWN_SECONDS"]["value"])
        sidecar = number(told_to_the_sidecar(app)["dapr.io/graceful-shutdown-seconds"])
        closing = 15
        patience = number(at(pod, "spec.template.spec.terminationGracePeriodSeconds"))
        assert patience >= told_first + in_hand + sidecar + closing

    @pytest.mark.parametrize("app", [*SERVICES, "kong"])
    def test_the_sidecar_stays_until_its_app_is_gone(self, app: str) -> None:
        assert told_to_the_sidecar(app)["dapr.io/enable-native-sidecar"] == "true"
        assert "dapr.io/block-shutdown-duration" not in told_to_the_sidecar(app), "it would keep every pod that long"

    @pytest.mark.parametrize("app", SERVICES)
    def test_a_new_replica_is_ready_before_an_old_one_goes(self, app: str) -> None:
        strategy = at(objects("Deployment")[app], "spec.strategy.rollingUpdate")
        assert strategy == {"maxUnavailable": 0, "maxSurge": 1}

    @pytest.mark.parametrize("app", [*SERVICES, "kong"])
    def test_replicas_stand_apart_and_do_not_go_together(self, app: str) -> None:
        assert at(objects("PodDisruptionBudget")[app], "spec.maxUnavailable") == 1
        spread = mappings(at(objects("Deployment")[app], "spec.template.spec.topologySpreadConstraints"))
        assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]


class TestDatabase:
    def test_a_release_prepares_its_database_with_its_own_images_and_under_its_own_name(self) -> None:
        ((name, job),) = objects("Job").items()
        tags = {str(each["image"]).rpartition(":")[2] for each in containers(job)}
        assert name == f"prepare-database-{tags.pop().replace('.', '-')}"
        assert tags == set()

    def test_every_service_is_migrated_by_what_it_would_run_itself(self) -> None:
        (job,) = objects("Job").values()
        migrated = mappings(at(job, "spec.template.spec.containers"))
        assert [each["name"] for each in migrated] == list(SERVICES)
        for container in migrated:
            app = str(container["name"])
            *_, module, told, folder = strings(container["command"])
            assert (module, told) == ("crewmesh_kit.db", app)
            assert (ROOT / folder).is_dir()
            assert container["image"] == the_app(app)["image"]

    def test_roles_come_first(self) -> None:
        (job,) = objects("Job").values()
        (roles,) = mappings(at(job, "spec.template.spec.initContainers"))
        assert "crewmesh_tools.deploy.bootstrap" in strings(roles["command"])


class TestNetwork:
    def test_nothing_reaches_anything_unless_it_is_said(self) -> None:
        policies = objects("NetworkPolicy")
        assert policies["deny-all"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}

    @pytest.mark.parametrize("name", ["integration", "model-providers"])
    def test_who_talks_to_the_world_talks_to_nothing_else(self, name: str) -> None:
        (world,) = mappings(at(objects("NetworkPolicy")[name], "spec.egress"))
        blocks = {
            str(at(block, "ipBlock.cidr")): strings(at(block, "ipBlock.except")) for block in mappings(world["to"])
        }
        assert {"169.254.0.0/16", "10.0.0.0/8", "192.168.0.0/16"} <= set(blocks["0.0.0.0/0"])
        assert "fc00::/7" in blocks["::/0"]

    @pytest.mark.parametrize("name", ["api-server", "blobs"])
    def test_nobody_reaches_where_a_cloud_tells_machines_their_credentials(self, name: str) -> None:
        (rule,) = mappings(at(objects("NetworkPolicy")[name], "spec.egress"))
        blocks = {
            str(at(block, "ipBlock.cidr")): strings(at(block, "ipBlock.except")) for block in mappings(rule["to"])
        }
        assert "169.254.0.0/16" in blocks["0.0.0.0/0"]

    def test_who_has_the_blob_store_may_reach_it(self) -> None:
        (rule,) = mappings(at(objects("NetworkPolicy")["blobs"], "spec.podSelector.matchExpressions"))
        assert sorted(strings(rule["values"])) == sorted(strings(objects("Component")["blobs"]["scopes"]))

    def test_the_control_plane_is_reached_at_the_ports_its_chart_opens(self) -> None:
        egress = mappings(at(objects("NetworkPolicy")["sidecars"], "spec.egress"))
        (ports,) = [
            {str(each["port"]) for each in mappings(rule["ports"])}
            for rule in egress
            if "dapr-system" in str(rule["to"])
        ]
        assert ports == {"50001", "6500", "50005", "50006"}

    def test_the_example_narrows_the_api_server(self) -> None:
        (rule,) = mappings(at(objects("NetworkPolicy", "example")["api-server"], "spec.egress"))
        assert "0.0.0.0/0" not in str(rule)


@pytest.mark.parametrize("app", [*SERVICES, "kong"])
def test_what_serves_has_an_address_and_an_account(app: str) -> None:
    for kind in ("Service", "ServiceAccount"):
        assert app in objects(kind)
    assert objects("ServiceAccount")[app]["automountServiceAccountToken"] is False


def test_a_restricted_namespace_is_what_the_pods_are_made_for() -> None:
    labels = at(objects("Namespace")["crewmesh"], "metadata.labels")
    assert isinstance(labels, dict)
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    (values,) = documents(ROOT / "k8s" / "dapr" / "values-ha.yaml")
    assert at(values, "dapr_sidecar_injector.sidecarDropALLCapabilities") is True, "its sidecars would be refused"
