"""What Dapr's own kinds may hold, as far as this repository uses them. Any other key is a mistake Dapr would pass over.

After the custom resource definitions of Dapr 1.18.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Action: TypeAlias = Literal["allow", "deny"]
Api: TypeAlias = Literal["invoke", "publish", "state", "secrets", "metadata", "bindings"]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class Metadata(Part):
    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    namespace: str | None = None
    labels: dict[str, str] | None = None


class Resource(Part):
    api_version: Literal["dapr.io/v1alpha1"]
    metadata: Metadata


class SecretReference(Part):
    name: str
    key: str


class Setting(Part):
    name: str
    value: str | None = None
    secret_key_ref: SecretReference | None = None


class ComponentSpec(Part):
    type: str
    version: Literal["v1", "v2"]
    metadata: list[Setting]


class Auth(Part):
    secret_store: str


class Component(Resource):
    kind: Literal["Component"]
    spec: ComponentSpec
    auth: Auth | None = None
    scopes: list[str] = Field(min_length=1)


class Operation(Part):
    name: str = Field(pattern=r"^/")
    http_verb: list[Literal["*", "GET", "POST", "PUT", "PATCH", "DELETE"]]
    action: Action


class Caller(Part):
    app_id: str
    default_action: Action
    trust_domain: str
    namespace: str
    operations: list[Operation]


class AccessControl(Part):
    default_action: Action
    trust_domain: str
    policies: list[Caller] = []


class AllowedApi(Part):
    name: Api
    version: Literal["v1"]
    protocol: Literal["http", "grpc"]


class ApiList(Part):
    allowed: list[AllowedApi] = Field(min_length=1)


class SecretScope(Part):
    store_name: str
    default_access: Action
    allowed_secrets: list[str]


class SecretScopes(Part):
    scopes: list[SecretScope]


class Tracing(Part):
    sampling_rate: str


class HttpMetrics(Part):
    increased_cardinality: bool


class Metrics(Part):
    enabled: bool
    http: HttpMetrics


class Retention(Part):
    any_terminal: str


class Workflow(Part):
    max_concurrent_workflow_invocations: int
    max_concurrent_activity_invocations: int
    state_retention_policy: Retention


class ConfigurationSpec(Part):
    access_control: AccessControl
    api: ApiList
    secrets: SecretScopes | None = None
    tracing: Tracing
    metrics: Metrics
    workflow: Workflow | None = None


class Configuration(Resource):
    kind: Literal["Configuration"]
    spec: ConfigurationSpec


class Matching(Part):
    http_status_codes: str | None = None
    grpc_status_codes: str | None = None


class Retry(Part):
    policy: Literal["constant", "exponential"]
    duration: str | None = None
    max_interval: str | None = None
    max_retries: int
    matching: Matching | None = None


class CircuitBreaker(Part):
    max_requests: int
    timeout: str
    trip: str
    interval: str | None = None


class Policies(Part):
    timeouts: dict[str, str] = {}
    retries: dict[str, Retry] = {}
    circuit_breakers: dict[str, CircuitBreaker] = {}


class Target(Part):
    timeout: str | None = None
    retry: str | None = None
    circuit_breaker: str | None = None


class ComponentTarget(Part):
    inbound: Target | None = None
    outbound: Target | None = None


class Targets(Part):
    apps: dict[str, Target] = {}
    components: dict[str, ComponentTarget] = {}


class ResiliencySpec(Part):
    policies: Policies
    targets: Targets


class Resiliency(Resource):
    kind: Literal["Resiliency"]
    spec: ResiliencySpec
    scopes: list[str] | None = None


class AnyResource(BaseModel):
    resource: Component | Configuration | Resiliency = Field(discriminator="kind")


# What may be said to the sidecar injector on a pod; a misspelt one would be ignored in silence.
ANNOTATIONS = frozenset(
    f"dapr.io/{name}"
    for name in (
        *("enabled", "app-id", "app-port", "config", "api-token-secret", "app-token-secret", "log-as-json"),
        *("max-body-size", "read-buffer-size", "disable-builtin-k8s-secret-store"),
        *("block-shutdown-duration", "graceful-shutdown-seconds"),
        *("sidecar-cpu-request", "sidecar-memory-request", "sidecar-memory-limit", "sidecar-seccomp-profile-type"),
    )
)
