"""Large payloads in the object store of compose, asked by a real daprd with the component that compose gives it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
import pytest_asyncio
from crewmesh_kit.dapr.client import sdk_client
from crewmesh_kit.dapr.stores import BlobStore
from crewmesh_kit.errors import NotFound
from crewmesh_kit.settings import DaprSettings
from crewmesh_testkit.ports import free_port
from crewmesh_tools.dapr_runtime import ensure_dapr
from crewmesh_tools.deploy.compose import prepare
from crewmesh_tools.deploy.files import read_flat
from crewmesh_tools.go_programs import Pinned, ensure_built

from tests.contract.collectors import eventually
from tests.contract.test_compose import CONTAINERS
from tests.rules.repository import ROOT, SERVICES, strings

PINNED = Pinned(ROOT / "tests" / "contract" / "object_store")
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objects")


@pytest.fixture(scope="module", name="secrets")
def _secrets(folder: Path) -> Generator[dict[str, str]]:
    """What compose would make, with the store at a port of this machine."""
    port = free_port()
    made = folder / ".crewmesh" / "compose" / "secrets.json"
    made.parent.mkdir(parents=True)
    made.write_text(json.dumps({"blobs-endpoint": f"http://127.0.0.1:{port}"}))
    prepare(folder, SERVICES)
    secrets = read_flat(made)
    assert secrets["blobs-endpoint"].endswith(str(port)), "whoever has a store of their own is left alone"
    told = strings(CONTAINERS["objects"]["command"])
    of_it = {":7070": f"127.0.0.1:{port}", "/data": str(folder / ".crewmesh/compose/objects")}
    command = [str(ensure_built(PINNED) / "versitygw"), *(of_it.get(each, each) for each in told)]
    # As the env_file has them.
    keys = {"ROOT_ACCESS_KEY": secrets["blobs-access-key"], "ROOT_SECRET_KEY": secrets["blobs-secret-key"]}
    with running(command, folder, f"http://127.0.0.1:{port}/health", keys):
        yield secrets


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="blobs")
async def _blobs(folder: Path, secrets: dict[str, str]) -> AsyncGenerator[BlobStore]:
    resources = folder / "resources"
    resources.mkdir()
    shutil.copy(ROOT / "components/compose/blobs.yaml", resources)
    shutil.copy(ROOT / "components/local/secretstore.yaml", resources)
    (folder / ".crewmesh" / "secrets.json").write_text(json.dumps(secrets))
    ports = {name: free_port() for name in ("dapr-http-port", "dapr-grpc-port", "dapr-internal-grpc-port")}
    command = [str(ensure_dapr(ROOT / "dapr-config" / "runtime") / "daprd"), "--app-id=workflow"]
    command += [f"--{name}={port}" for name, port in {**ports, "metrics-port": free_port()}.items()]
    command += [f"--resources-path={resources}", "--dapr-listen-addresses=127.0.0.1"]
    settings = DaprSettings(http_port=ports["dapr-http-port"], grpc_port=ports["dapr-grpc-port"])
    with running(command, folder, f"http://127.0.0.1:{ports['dapr-http-port']}/v1.0/healthz", {"NAMESPACE": "default"}):
        client = sdk_client(settings)
        yield BlobStore(lambda: client)
        await client.close()


async def test_payloads_come_back_as_they_were(blobs: BlobStore) -> None:
    for payload in (b"text", b'{"a": 1}', b"\x00\xff" * 50_000, b"YWJj", b"x" * 3_000_000):
        reference = await blobs.put(payload)
        assert await blobs.put(payload) == reference
        assert await blobs.get(reference) == payload


async def test_what_is_not_there_is_not_found(blobs: BlobStore) -> None:
    with pytest.raises(NotFound):
        await blobs.get("sha256:" + "0" * 64)


async def test_what_was_forgotten_is_gone(blobs: BlobStore) -> None:
    reference = await blobs.put(b"for a while")
    await blobs.delete(reference)
    with pytest.raises(NotFound):
        await blobs.get(reference)


async def test_objects_are_files_that_can_be_copied(blobs: BlobStore, folder: Path) -> None:
    reference = await blobs.put(b"as a file")
    (file,) = (folder / ".crewmesh/compose/objects").rglob(re.sub("^sha256:", "", reference))
    assert file.read_bytes().endswith(b"as a file")


async def test_it_is_of_the_version_of_the_image() -> None:
    (built,) = re.findall(r"^\tgithub.com/versity/versitygw (v\S+)", (PINNED.module / "go.mod").read_text(), re.M)
    assert str(CONTAINERS["objects"]["image"]).endswith(f":{built}")


@contextmanager
def running(command: Sequence[str], folder: Path, health: str, environment: dict[str, str]) -> Generator[None]:
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )

    def well() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(health, timeout=2) as answer:
                return answer.status in (200, 204)
        except OSError:
            return False

    try:
        eventually(well, f"{command[0]} does not become well")
        yield
    finally:
        process.terminate()
        process.wait(60)
