"""What code of users is kept from, and what is left when it misbehaves."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from crewmesh_contracts.base import JsonValue
from crewmesh_kit.resources import Resources
from crewmesh_testkit.polling import until
from crewmesh_workflow.sandbox.errors import CodeFailed, CodeTimedOut, SandboxCrashed, SandboxMissing
from crewmesh_workflow.sandbox.model import CodeRequest
from crewmesh_workflow.sandbox.processes import Confined
from crewmesh_workflow.sandbox.service import Sandbox, open_sandbox

Language = Literal["python", "javascript"]
BOTH: tuple[Language, ...] = ("python", "javascript")

SERVICE = """
import asyncio, sys
from crewmesh_workflow.sandbox.model import CodeRequest
from crewmesh_workflow.sandbox.processes import Confined
from crewmesh_workflow.sandbox.service import Sandbox

async def main():
    start = Confined.start
    async def told(*arguments):
        process = await start(*arguments)
        sys.__stdout__.write(f"{process.pid}\\n")
        sys.__stdout__.flush()
        return process
    Confined.start = told
    await Sandbox(sys.argv[1], workers=1).run(
        CodeRequest(language="python", source="while True: pass", timeout_seconds=10)
    )

asyncio.run(main())
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Sandbox]:
    """For all the tests that do not count processes."""
    opened = Sandbox(str(tmp_path_factory.mktemp("sandbox")), workers=2)
    yield opened
    await opened.close()


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncGenerator[Sandbox]:
    opened = Sandbox(str(tmp_path), workers=2)
    yield opened
    await opened.close()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Confined]:
    """Every process that is started."""
    processes: list[Confined] = []
    start = Confined.start

    async def recorded(folder: str, *arguments: str) -> Confined:
        processes.append(await start(folder, *arguments))
        return processes[-1]

    monkeypatch.setattr(Confined, "start", recorded)
    return processes


def python(source: str, *, seconds: float = 60.0, memory: int = 64, **inputs: JsonValue) -> CodeRequest:
    return CodeRequest(language="python", source=source, inputs=inputs, timeout_seconds=seconds, memory_mib=memory)


def script(source: str, *, seconds: float = 60.0, memory: int = 64, **inputs: JsonValue) -> CodeRequest:
    return CodeRequest(language="javascript", source=source, inputs=inputs, timeout_seconds=seconds, memory_mib=memory)


@pytest.mark.asyncio(loop_scope="module")
class TestNoWayOut:
    @pytest.mark.parametrize(
        "source",
        [
            "__import__('os').system('id')",
            "import os\nos.system('id')",
            "import os\nos.environ['PATH']",
            "import os\nos.listdir('/')",
            "import subprocess",
            "import socket",
            "import ctypes",
            "import importlib",
            "import sys\nsys.modules['os']",
            "import urllib.request",
            "open('/etc/passwd').read()",
            "open('/tmp/written', 'w').write('x')",
            "from pathlib import Path\nPath('/etc/passwd').read_text()",
            "().__class__.__bases__[0].__subclasses__()",
            "(1).__class__.__mro__",
            "(lambda: 1).__globals__",
            "(lambda: 1).__code__",
            "print.__self__",
            "'{0.__class__}'.format(1) + ''.__class__",
            "getattr(1, '__class__')",
            "globals()['__builtins__']",
            "vars()",
            "eval('__import__(\"os\")')",
            "exec('import os; os.fork()')",
            "breakpoint()",
            "import datetime\ndatetime.datetime.now()",
            "import time\ntime.time()",
            "import time\ntime.sleep(1)",
        ],
    )
    async def test_of_python(self, sandbox: Sandbox, source: str) -> None:
        with pytest.raises(CodeFailed):
            await sandbox.run(python(source))

    @pytest.mark.parametrize(
        "source",
        [
            "Deno.readTextFileSync('/etc/passwd')",
            "import('node:fs').then(fs => fs.readFileSync('/etc/passwd', 'utf8'))",
            "import('file:///etc/passwd', {with: {type: 'text'}})",
            'import(\'data:application/javascript,export {default} from "file:///etc/passwd" with {type: "text"}\')',
            "import('node:child_process').then(child => child.execSync('id').toString())",
            "import('node:os').then(os => os.hostname())",
            "import('node:net').then(net => net.connect(80, '127.0.0.1'))",
            "import('https://deno.land/std/version.ts')",
            "import('jsr:@std/assert')",
            "import('npm:left-pad')",
            "fetch('http://127.0.0.1:8081/healthz')",
            "new WebSocket('ws://127.0.0.1:8081/').readyState",
            "new Worker('data:application/javascript,1', {type: 'module'})",
            "process.env.PATH",
            "process.kill(process.ppid, 9)",
            "Function('return this')().Deno.exit(0)",
        ],
    )
    async def test_of_javascript(self, sandbox: Sandbox, source: str) -> None:
        with pytest.raises(CodeFailed):
            await sandbox.run(script(source))

    async def test_one_script_sees_nothing_of_another(self, sandbox: Sandbox) -> None:
        for run in (python, script):
            await sandbox.run(run("secret = 5"))
            with pytest.raises(CodeFailed, match="secret"):
                await sandbox.run(run("secret"))


@pytest.mark.asyncio(loop_scope="module")
class TestTooMuch:
    @pytest.mark.parametrize(
        "source",
        ["while True: pass", "try:\n    while True: pass\nexcept BaseException: pass", "pow(7, 10**7)"],
    )
    async def test_time_of_python(self, sandbox: Sandbox, source: str) -> None:
        with pytest.raises(CodeTimedOut, match=r"longer than 0\.3 seconds"):
            await sandbox.run(python(source, seconds=0.3))
        assert (await sandbox.run(python("1"))).result == 1

    @pytest.mark.parametrize("source", ["while (true);", "new Promise(done => setTimeout(done, 60_000))"])
    async def test_time_of_javascript(self, sandbox: Sandbox, source: str) -> None:
        with pytest.raises(CodeTimedOut):
            await sandbox.run(script(source, seconds=0.3))

    @pytest.mark.parametrize(
        "source",
        [
            "x = 'a' * (1 << 30)",
            "x = [0] * 10**9",
            "x = []\nwhile True: x.append('y' * 1000)",
            "10 ** 10 ** 8",
            "'%01000000000d' % 3",
            "x = [0] * 1_000_000\n[x] * 1_000",
        ],
    )
    async def test_memory_of_python(self, sandbox: Sandbox, source: str) -> None:
        with pytest.raises(CodeFailed, match="more than its 32 MiB"):
            await sandbox.run(python(source, memory=32))
        assert (await sandbox.run(python("1"))).result == 1

    @pytest.mark.parametrize(
        "source",
        [
            "let a = []; while (true) a.push(new Array(1000).fill(1))",
            "let a = []; for (let i = 0; i < 100; i++) a.push(new Uint8Array(50e6).fill(1)); 1",
            "'x'.repeat(1e9)",
        ],
    )
    async def test_memory_of_javascript(self, sandbox: Sandbox, source: str) -> None:
        with pytest.raises(CodeFailed):
            await sandbox.run(script(source, memory=32))


class TestProcesses:
    async def test_the_worker_has_nothing_and_may_little(self, fresh: Sandbox, started: list[Confined]) -> None:
        await fresh.run(python("1"))
        process = Path(f"/proc/{started[0].pid}")
        limits = (process / "limits").read_text()
        assert (process / "environ").read_bytes() == b""
        for line in ("Max file size             0 ", "Max core file size        0 ", "Max open files            64 "):
            assert line in limits
        assert (process / "oom_score_adj").read_text() == "1000\n"
        assert f"Max data size             {512 * 1024 * 1024} " in limits
        assert started[0].pid != os.getpid()

    @pytest.mark.parametrize("language", BOTH)
    async def test_many_at_once(self, fresh: Sandbox, language: Language) -> None:
        run = python if language == "python" else script
        answers = await asyncio.gather(*(fresh.run(run("n + 1", n=n)) for n in range(10)))
        assert [answer.result for answer in answers] == list(range(1, 11))

    async def test_a_worker_is_used_again(self, fresh: Sandbox, started: list[Confined]) -> None:
        for _ in range(5):
            await fresh.run(python("1"))
        assert len(started) == 1

    @pytest.mark.parametrize(("run", "loop"), [(python, "while True: pass"), (script, "while (true);")], ids=BOTH)
    async def test_one_that_is_killed_in_the_middle(
        self, fresh: Sandbox, started: list[Confined], run: Callable[..., CodeRequest], loop: str
    ) -> None:
        running = asyncio.create_task(fresh.run(run(loop)))
        await _until(lambda: bool(started) and _at_work(started[0].pid))
        os.kill(started[0].pid, signal.SIGKILL)
        with pytest.raises(SandboxCrashed) as crashed:
            await running
        assert crashed.value.retryable
        assert (await fresh.run(python("1"))).result == 1

    async def test_one_that_is_gone_before_it_is_told_anything(self, fresh: Sandbox, started: list[Confined]) -> None:
        """However the loop says that a pipe is closed: the standard one and uvloop do it differently."""
        await fresh.run(python("1"))
        await started[0].end()
        await _until(lambda: started[0].closed)
        for work in (started[0].ask(b"x"), started[0].tell(b"x")):
            with pytest.raises(OSError, match="ended"):
                await work

    async def test_one_that_died_while_idle_is_not_asked(self, fresh: Sandbox, started: list[Confined]) -> None:
        await fresh.run(python("1"))
        os.kill(started[0].pid, signal.SIGKILL)
        await _until(lambda: not started[0].alive)
        assert (await fresh.run(python("2"))).result == 2

    async def test_who_goes_away_leaves_nothing_running(self, fresh: Sandbox, started: list[Confined]) -> None:
        running = asyncio.create_task(fresh.run(python("while True: pass")))
        await _until(lambda: bool(started) and _at_work(started[0].pid))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not started[0].alive
        await _until(lambda: not _group(started[0].pid))

    async def test_nothing_is_left_when_it_is_closed(self, started: list[Confined]) -> None:
        async with open_sandbox(Resources()) as sandbox:
            await sandbox.run(python("1"))
        assert not any(process.alive for process in started)
        await _until(lambda: not _group(started[0].pid))

    async def test_nothing_outlives_a_service_that_was_killed(self, tmp_path: Path) -> None:
        service = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVICE, tmp_path, stdout=PIPE)
        assert service.stdout is not None
        worker = int(await service.stdout.readline())
        await _until(lambda: _at_work(worker))
        service.kill()
        await service.wait()
        await _until(lambda: not _group(worker))

    async def test_without_deno_it_says_what_to_install(self, fresh: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        def nothing(_: str, *, path: str) -> None:
            assert path

        monkeypatch.setattr("shutil.which", nothing)
        with pytest.raises(SandboxMissing, match="install") as missing:
            await fresh.run(script("1"))
        assert not missing.value.retryable
        assert (await fresh.run(python("1"))).result == 1


async def _until(true: Callable[[], bool]) -> None:
    """In less time than the longest code may take."""
    await until(true, seconds=50, what="a process to be so", every=0.02)


def _group(leader: int) -> list[int]:
    """The processes of the group that are not dead."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rsplit(")", 1)[1].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(group) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found


def _at_work(leader: int) -> bool:
    """Whether a process of the group has used the processor for a while."""
    for pid in _group(leader):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[11]) > 40:
            return True
    return False
