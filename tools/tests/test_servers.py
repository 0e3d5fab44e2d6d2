"""The launchers of PostgreSQL and Valkey: prepared once, kept across starts, private, and confined per service."""

from __future__ import annotations

import stat
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest
import redis
from crewmesh_testkit.ports import free_port
from crewmesh_testkit.servers import PostgresServer, ServerProcess, running_postgres, running_valkey
from crewmesh_tools.servers import postgres as launcher
from crewmesh_tools.servers.postgres import ServerNotReadyError
from crewmesh_tools.servers.unprivileged import Account
from crewmesh_tools.servers.valkey import ValkeyServer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="module")
def server(folder: Path) -> Generator[PostgresServer]:
    with running_postgres(folder) as server:
        yield server


def url(server: PostgresServer, app_id: str, password: str) -> str:
    return launcher.service_url(server.admin_url, app_id, password)


class TestPostgres:
    def test_gives_each_service_a_schema_of_its_own(self, server: PostgresServer) -> None:
        launcher.bootstrap(server.admin_url, {"agent-crew": "a'b@/:", "knowledge": "k"})
        with psycopg.connect(url(server, "agent-crew", "a'b@/:")) as conn:
            conn.execute("CREATE TABLE mine (vector vector(3))")
            row = conn.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'mine'").fetchone()
            assert row == ("agent_crew",)
        with psycopg.connect(url(server, "knowledge", "k")) as conn:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("SELECT * FROM agent_crew.mine")
            conn.rollback()
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("CREATE TABLE public.shared (n int)")

    def test_service_roles_cannot_pass_row_level_security(self, server: PostgresServer) -> None:
        launcher.bootstrap(server.admin_url, {"knowledge": "k"})
        with psycopg.connect(url(server, "knowledge", "k")) as conn:
            cursor = conn.execute("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
            assert cursor.fetchone() == (False, False)

    def test_bootstrapping_again_sets_new_passwords_and_keeps_data(self, server: PostgresServer) -> None:
        launcher.bootstrap(server.admin_url, {"workflow": "old"})
        with psycopg.connect(url(server, "workflow", "old")) as conn:
            conn.execute("CREATE TABLE kept AS SELECT 1 AS n")
        launcher.bootstrap(server.admin_url, {"workflow": "new"})
        with psycopg.connect(url(server, "workflow", "new")) as conn:
            assert conn.execute("SELECT n FROM kept").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url(server, "workflow", "old"))

    def test_survives_being_killed(self, server: PostgresServer) -> None:
        launcher.bootstrap(server.admin_url, {"workflow": "w"})
        with psycopg.connect(url(server, "workflow", "w")) as conn:
            conn.execute("CREATE TABLE before_the_crash AS SELECT 1 AS n")
        server.server.kill()
        server.server.start()
        with psycopg.connect(url(server, "workflow", "w")) as conn:
            assert conn.execute("SELECT n FROM before_the_crash").fetchone() == (1,)

    def test_its_folder_is_private(self, server: PostgresServer) -> None:
        folder = server.launcher.data_dir
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "admin-password").stat().st_mode) == 0o600

    def test_preparing_again_changes_nothing(self, server: PostgresServer) -> None:
        before = server.admin_url
        server.launcher.prepare()
        assert server.admin_url == before

    def test_an_interrupted_preparation_is_started_over(self, tmp_path: Path) -> None:
        half_done = tmp_path / "pg.unfinished"
        half_done.mkdir()
        (half_done / "PG_VERSION").write_text("18")
        prepared = launcher.PostgresServer(tmp_path / "pg", 1, fsync=False)
        prepared.prepare()
        assert (prepared.data_dir / "global").is_dir()
        assert not half_done.exists()

    def test_says_so_when_it_does_not_answer(self, tmp_path: Path) -> None:
        silent = launcher.PostgresServer(tmp_path / "pg", free_port(), fsync=False)
        silent.prepare()
        with pytest.raises(ServerNotReadyError, match="does not accept connections"):
            silent.wait_ready(0)


class TestAccount:
    account = Account(1234, 1234)

    def test_extra_rights_only_where_the_way_is_closed(self, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        assert "--ambient-caps=+dac_override" in self.account.command(["x"], needs=[closed / "inside"])
        assert not any("caps" in part for part in self.account.command(["x"], needs=[Path("/usr/bin")]))


class TestValkey:
    @pytest.fixture
    def running(self, tmp_path: Path) -> Generator[tuple[ValkeyServer, ServerProcess]]:
        with running_valkey(tmp_path) as running:
            yield running

    def test_wants_its_password(self, running: tuple[ValkeyServer, ServerProcess]) -> None:
        server, _ = running
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(host="127.0.0.1", port=server.port).get("x")
        assert redis.Redis(host="127.0.0.1", port=server.port, password="test").get("x") is None

    def test_its_password_is_on_no_command_line(self, running: tuple[ValkeyServer, ServerProcess]) -> None:
        server, _ = running
        assert not any(part == "test" for part in server.command())
        assert stat.S_IMODE(Path(server.command()[1]).stat().st_mode) == 0o600

    def test_keeps_its_data_when_killed(self, tmp_path: Path) -> None:
        server = ValkeyServer(tmp_path / "data", free_port(), 'p"w\\', keep=True)
        server.prepare()
        process = ServerProcess(server, tmp_path / "log")
        process.start()
        try:
            client = redis.Redis(host="127.0.0.1", port=server.port, password='p"w\\')
            client.set("kept", "1")
            process.kill()
            process.start()
            assert client.get("kept") == b"1"
        finally:
            process.stop()
