"""What code of users may do: its variables, its result, and how its mistakes are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress

import pytest
import pytest_asyncio
from crewmesh_contracts.base import JsonValue
from crewmesh_workflow.sandbox.errors import CodeFailed, CodeTimedOut
from crewmesh_workflow.sandbox.model import CodeRequest, CodeResult
from crewmesh_workflow.sandbox.service import Sandbox
from hypothesis import given, settings
from hypothesis import strategies as st

PIECES = (
    *(
        "x",
        "1",
        "'a'",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ":",
        "\n",
        "\n    ",
        " ",
        "=",
        "+",
        "*",
        "**",
        ".",
        ",",
        "|",
        "\x00",
    ),
    *("def f():", "for x in ", "while True:", "lambda x:", "import os", "print", "x.", "__class__", "async ", "await "),
    *(
        "yield ",
        "try:",
        "except:",
        "raise ",
        "'\\ud800'",
        "1e999",
        "if x else ",
        "f'{x",
        "match x:",
        "del x",
        "class A:",
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Sandbox]:
    opened = Sandbox(str(tmp_path_factory.mktemp("sandbox")), workers=2)
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def shared(loop: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    sandbox = Sandbox(str(tmp_path_factory.mktemp("sandbox")), workers=1)
    yield sandbox
    loop.run(sandbox.close())


def python(source: str, *, seconds: float = 60.0, memory: int = 64, **inputs: JsonValue) -> CodeRequest:
    return CodeRequest(language="python", source=source, inputs=inputs, timeout_seconds=seconds, memory_mib=memory)


def script(source: str, *, seconds: float = 60.0, memory: int = 64, **inputs: JsonValue) -> CodeRequest:
    return CodeRequest(language="javascript", source=source, inputs=inputs, timeout_seconds=seconds, memory_mib=memory)


@pytest.mark.asyncio(loop_scope="module")
class TestResults:
    @pytest.mark.parametrize(
        ("source", "result"),
        [
            ("1 + 1", 2),
            ("total = sum(prices)\ntotal * 2", 12),
            ("'ü✓😀' + name", "ü✓😀Zoë"),
            ("{'a': [1, 2.5, None, True], 'b': ('x', 'y')}", {"a": [1, 2.5, None, True], "b": ["x", "y"]}),
            ("[price for price in prices if price > 1]", [2, 3]),
            ("import json\njson.loads('[1]')", [1]),
            ("import re\nre.findall('[a-z]+', 'ab1cd')", ["ab", "cd"]),
            ("def double(x):\n    return 2 * x\ndouble(prices[2])", 6),
            ("x = 1", None),
        ],
    )
    async def test_python(self, sandbox: Sandbox, source: str, result: JsonValue) -> None:
        answer = await sandbox.run(python(source, prices=[1, 2, 3], name="Zoë"))
        assert answer == CodeResult(result=result, printed="")

    @pytest.mark.parametrize(
        ("source", "result"),
        [
            ("1 + 1", 2),
            ("const total = prices.reduce((a, b) => a + b);\ntotal * 2", 12),
            ("`ü✓😀${name}`", "ü✓😀Zoë"),
            ("({a: [1, 2.5, null, true], b: undefined})", {"a": [1, 2.5, None, True]}),
            ("Promise.resolve(prices.length)", 3),
            ("let x = 1;", None),
        ],
    )
    async def test_javascript(self, sandbox: Sandbox, source: str, result: JsonValue) -> None:
        answer = await sandbox.run(script(source, prices=[1, 2, 3], name="Zoë"))
        assert answer == CodeResult(result=result, printed="")

    async def test_what_is_printed_comes_along(self, sandbox: Sandbox) -> None:
        assert (await sandbox.run(python("print('hé', 1)\nprint('b')\n5"))).printed == "hé 1\nb\n"
        assert (
            await sandbox.run(script("console.log('hé', {a: 1}); console.error('b'); 5"))
        ).printed == "hé { a: 1 }\nb\n"

    async def test_what_is_printed_is_cut(self, sandbox: Sandbox) -> None:
        assert (await sandbox.run(python("for _ in range(20): print('x' * 10_000)\n1"))).printed.startswith("xxx")
        assert len((await sandbox.run(python("print('✓' * 200_000)"))).printed) == 64 * 1024
        assert len((await sandbox.run(script("console.log('\\u0001'.repeat(200_000))"))).printed) == 64 * 1024


@pytest.mark.asyncio(loop_scope="module")
class TestMistakes:
    @pytest.mark.parametrize(
        ("source", "message", "line"),
        [
            ("a = 1\nb = a / 0", "ZeroDivisionError: division by zero", 2),
            ("def f():\n    return missing\nf()", "NameError: name 'missing' is not defined", 2),
            ("x = 1\ny = = 2", "Expected an expression", 2),
            ("raise ValueError('bad ' + 'luck')", "ValueError: bad luck", 1),
            (r"raise ValueError('a\x00b\x1b')", "ValueError: a\ufffdb\ufffd", 1),
            ("def f(): return f()\nf()", "RecursionError: maximum recursion depth exceeded", 1),
            ("{1, 2}", "the result holds a value of type set, which JSON does not have", None),
            ("{1: 2}", "the result holds a key of type int; in JSON every key is text", None),
            ("10 ** 30", "the result holds an integer of more than 64 bits; make it text", None),
            ("float('inf')", "the result holds a number that is not finite", None),
        ],
    )
    async def test_python(self, sandbox: Sandbox, source: str, message: str, line: int | None) -> None:
        with pytest.raises(CodeFailed) as failed:
            await sandbox.run(python(source))
        assert failed.value.extensions == {"message": message, "line": line}
        assert not failed.value.retryable

    @pytest.mark.parametrize(
        ("source", "message", "line"),
        [
            ("let x = 1;\nnull.foo", "TypeError: Cannot read properties of null (reading 'foo')", 2),
            ("a b", "SyntaxError: Unexpected identifier 'b'", None),
            ("throw 5", "5 was thrown", None),
            (r"throw new Error('a\u0000b')", "Error: a\ufffdb", 1),
            ("1n", "TypeError: Do not know how to serialize a BigInt", None),
            ("() => 1", "TypeError: the result is a function, which JSON does not have", None),
            ("function f() { return f(); } f()", "RangeError: Maximum call stack size exceeded", 1),
            ("new Promise(() => {})", "the code ended the process before it had a result", None),
        ],
    )
    async def test_javascript(self, sandbox: Sandbox, source: str, message: str, line: int | None) -> None:
        with pytest.raises(CodeFailed) as failed:
            await sandbox.run(script(source))
        assert failed.value.extensions == {"message": message, "line": line}

    @pytest.mark.parametrize("depth", [150, 100_000])
    async def test_a_result_that_is_nested_too_deeply(self, sandbox: Sandbox, depth: int) -> None:
        with pytest.raises(CodeFailed, match="nested too deeply"):
            await sandbox.run(python(f"x = []\nfor _ in range({depth}): x = [x]\nx"))
        with pytest.raises(CodeFailed, match="nested too deeply"):
            await sandbox.run(script(f"let x = []; for (let i = 0; i < {depth}; i++) x = [x]; x"))

    async def test_a_result_that_is_too_large(self, sandbox: Sandbox) -> None:
        with pytest.raises(CodeFailed, match="larger than 1024 KiB"):
            await sandbox.run(python("'x' * 2_000_000"))
        with pytest.raises(CodeFailed, match="larger than 1024 KiB"):
            await sandbox.run(script("'x'.repeat(2_000_000)"))

    async def test_text_that_is_no_unicode(self, sandbox: Sandbox) -> None:
        with pytest.raises(CodeFailed, match="holds text that is none"):
            await sandbox.run(script("'\\ud800'"))


class TestAnything:
    """Whatever the code is, the sandbox answers with a result or with one of its problems."""

    json = st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.text()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
    source = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)

    @settings(max_examples=60)
    @given(value=json)
    def test_json_comes_back_as_it_went_in(self, loop: asyncio.Runner, shared: Sandbox, value: JsonValue) -> None:
        assert loop.run(shared.run(python("value", value=value))).result == value

    @settings(max_examples=80)
    @given(source=source)
    def test_of_nonsense(self, loop: asyncio.Runner, shared: Sandbox, source: str) -> None:
        with suppress(CodeFailed, CodeTimedOut):
            loop.run(shared.run(python(source + "1", seconds=0.2)))
