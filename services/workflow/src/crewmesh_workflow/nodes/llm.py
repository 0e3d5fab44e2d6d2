"""Ask a language model. Output: ``text``, ``label``, ``data`` and ``usage``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import ASK_MODEL, ModelMessage, ModelRequest, unfit_labels
from crewmesh_contracts.workflow.nodes.llm import LlmNode
from crewmesh_kit.errors import RemoteProblem

from crewmesh_workflow.expressions import ExpressionError, Scope
from crewmesh_workflow.nodes.base import AfterPause, EffectContext, Reader, effect_kind
from crewmesh_workflow.nodes.members import read_text
from crewmesh_workflow.nodes.stop import stop_thinking
from crewmesh_workflow.nodes.thinking import AWAITS_TOP_UP, BUDGET_SECONDS

# No model is given longer for one answer.
_LONGEST_ANSWER_SECONDS = 3_600.0


def _compile(node: LlmNode, read: Reader) -> Callable[[Scope], ModelRequest]:
    if node.task == "classify":
        read.written("labels", node.labels, _check_labels)
    prompt = read.template("prompt", node.prompt)
    system = read_text(read, "system", node.system)
    said = [
        (message, read.template(f"messages.{number}.content", message.content))
        for number, message in enumerate(node.messages)
    ]

    def render(scope: Scope) -> ModelRequest:
        return ModelRequest(
            task=node.task,
            model=node.model,
            prompt=prompt.text(scope),
            system=system(scope),
            messages=tuple(ModelMessage(role=message.role, content=content.text(scope)) for message, content in said),
            labels=node.labels,
            output_schema=node.output_schema,
            temperature=node.temperature,
            reuse=node.reuse,
            max_tokens=node.max_tokens,
            timeout_seconds=min(node.timeout_seconds, _LONGEST_ANSWER_SECONDS),
        )

    return render


def _check_labels(labels: Sequence[str]) -> None:
    if (wrong := unfit_labels(labels)) is not None:
        raise ExpressionError(wrong)


async def _run(request: ModelRequest, context: EffectContext) -> JsonObject:
    try:
        answer = await context.call(ASK_MODEL, request.model_copy(update={"payer": context.payer}))
    except RemoteProblem as problem:
        if problem.slug == AWAITS_TOP_UP:  # it was not asked, and is to wait, as agents do
            raise AfterPause(problem.slug, problem.detail, seconds=BUDGET_SECONDS) from problem
        raise
    return answer.model_dump(mode="json")


KIND = effect_kind(
    node=LlmNode,
    request=ModelRequest,
    compile_=_compile,
    run=_run,
    stop=stop_thinking,
    reaches_world=False,
    later=frozenset({"payer"}),
)
