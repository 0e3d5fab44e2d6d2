"""Run a little code in the sandbox. Output: ``result`` and ``printed``."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow.nodes.code import CodeNode

from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.nodes.base import EffectContext, Reader, effect_kind
from crewmesh_workflow.nodes.members import read_object
from crewmesh_workflow.sandbox.model import CodeRequest

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def _compile(node: CodeNode, read: Reader) -> Callable[[Scope], CodeRequest]:
    """The source is code and no template: values reach it as variables, so that none of them can become code."""
    inputs = read_object(read, "inputs", node.inputs)
    for name in node.inputs:
        if not _VARIABLE.fullmatch(name) or keyword.iskeyword(name):
            read.mistake(f"inputs.{name}", "the code reads this as a variable: name it with letters, digits and _")

    def render(scope: Scope) -> CodeRequest:
        return CodeRequest(
            language=node.language,
            source=node.source,
            inputs=inputs(scope),
            timeout_seconds=node.timeout_seconds,
            memory_mib=node.memory_mib,
        )

    return render


async def _run(request: CodeRequest, context: EffectContext) -> JsonObject:
    result = await context.run_code(request)
    return result.model_dump(mode="json")


KIND = effect_kind(node=CodeNode, request=CodeRequest, compile_=_compile, run=_run, reaches_world=False)
