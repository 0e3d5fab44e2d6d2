"""Run a little code in the sandbox. Output: ``result`` and ``printed``."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Callable

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow.nodes.code import CodeNode

from crewmesh_workflow.expressions import ExpressionError, Scope
from crewmesh_workflow.nodes.base import EffectContext, Reader, effect_kind
from crewmesh_workflow.nodes.members import read_object
from crewmesh_workflow.sandbox.model import CodeRequest

# What only Python 3.12 and later read: f-strings with quotes or lines inside of their braces, t-strings, parameters for
# types, the statement type, and except with several types and no parentheses.
_NEWER = re.compile(
    r"""\b(?:[fFtT][rR]?|[rR][fFtT])["']|\b(?:def|class)[ \t]+\w+[ \t]*\[|\btype[ \t]+\w|\bexcept\b[^:\n]{0,200},"""
)
_PLAIN_F_STRING = re.compile(
    r"""\b(?:[fF][rR]?|[rR][fF])(?:"(?!"")(?:[^"\\\n{}]|\\.|\{[^"'\\\n{}]*\})*"|'(?!'')(?:[^'\\\n{}]|\\.|\{[^"'\\\n{}]*\})*')"""
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def _compile(node: CodeNode, read: Reader) -> Callable[[Scope], CodeRequest]:
    """The source is code and no template: values reach it as variables, so that none of them can become code."""
    inputs = read_object(read, "inputs", node.inputs)
    if node.language == "python":
        read.written("source", node.source, _check_python)
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


def _check_python(source: str) -> None:
    """The interpreter that runs it reads in a process of its own only, so Python's own parser reads here instead.

    That one is older: where grammar that it does not know may be at work its word is not taken, nor where it gives up
    on the depth of the code. What it cannot tell, the run does.
    """
    try:
        ast.parse(source.removeprefix("\ufeff"))
    except SyntaxError as error:
        if error.lineno is not None and not _NEWER.search(_PLAIN_F_STRING.sub('""', source)):
            raise ExpressionError(f"this is no Python: {error.msg}, in line {error.lineno}; correct the code") from None
    except (RecursionError, MemoryError, ValueError):
        return


async def _run(request: CodeRequest, context: EffectContext) -> JsonObject:
    result = await context.run_code(request)
    return result.model_dump(mode="json")


KIND = effect_kind(node=CodeNode, request=CodeRequest, compile_=_compile, run=_run, reaches_world=False)
