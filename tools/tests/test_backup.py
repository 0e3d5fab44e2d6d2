"""Backup and restore between real servers; what the archive refuses; what is told to whom."""

from __future__ import annotations

import json
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import psycopg
import pytest
from crewmesh_testkit.ports import free_port, is_free
from crewmesh_tools.backup import __main__ as command
from crewmesh_tools.backup import archive, database
from crewmesh_tools.backup.create import Source, create, write_metrics
from crewmesh_tools.backup.errors import BackupError
from crewmesh_tools.backup.restore import Restore, running, topics_of
from crewmesh_tools.backup.sealing import seal, unseal
from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.layout import POSTGRES_PORT, VALKEY_PORT, Layout
from crewmesh_tools.mesh.secrets import Servers, database_passwords, load_or_make
from crewmesh_tools.mesh.state import holding_lock
from crewmesh_tools.servers.postgres import PostgresServer, bootstrap
from crewmesh_tools.servers.valkey import ValkeyServer

APPS = ("gateway", "workflow")
PASSPHRASE = "correct horse battery"
ABOUT = archive.About(crewmesh="0.1.0", postgres="18.6", taken_at=datetime(2026, 11, 1, tzinfo=UTC), schemas={})


def offset() -> int:
    """Such that both ports of the layout are free, and nobody else's."""
    between = VALKEY_PORT - POSTGRES_PORT
    return next(port for port in iter(free_port, None) if is_free(port + between)) - POSTGRES_PORT


def small_archive(folder: Path) -> Path:
    path = folder / "small.tar"
    with archive.writing(path) as writer:
        writer.add_bytes(archive.DUMP, b"dump" * 1000)
        writer.add_bytes(archive.TOPICS, b"")
        writer.add_bytes(archive.SECRETS, seal(b"{}", PASSPHRASE))
        writer.add_bytes("blobs/ab", b"blob")
        writer.finish(ABOUT)
    return path


class Mesh:
    """The servers of a mesh and what its services would have put there."""

    def __init__(self, home: Path) -> None:
        self.layout = Layout(home / "dapr.yaml", home, offset())
        self.layout.state.mkdir(mode=0o711, parents=True)
        self.postgres = PostgresServer(self.layout.state / "postgres", self.layout.port(POSTGRES_PORT), fsync=False)

    def prepare(self) -> None:
        self.postgres.prepare()
        servers = Servers(self.postgres.admin_url, redis_port=self.layout.port(VALKEY_PORT))
        self.secrets = load_or_make(self.layout.secrets_file, APPS, servers)
        self.valkey = ValkeyServer(
            self.layout.state / "valkey", self.layout.port(VALKEY_PORT), self.secrets["valkey-password"]
        )

    def source(self) -> Source:
        return Source(
            self.postgres.admin_url,
            self.secrets["redis-url"],
            self.layout.secrets_file,
            self.layout.state / "blobs",
        )

    def fill(self) -> None:
        bootstrap(self.postgres.admin_url, database_passwords(self.secrets, APPS))
        with psycopg.connect(self.secrets["database-url-workflow"], autocommit=True) as connection:
            connection.execute("CREATE TABLE runs (id text PRIMARY KEY, org_id text, near public.vector(2))")
            connection.execute("ALTER TABLE runs FORCE ROW LEVEL SECURITY")
            connection.execute("ALTER TABLE runs ENABLE ROW LEVEL SECURITY")
            connection.execute("CREATE POLICY everybody ON runs USING (true)")
            connection.execute("INSERT INTO runs VALUES ('run_1', 'org_1', '[1,2]')")
        blob = self.layout.state / "blobs" / "abc"
        blob.parent.mkdir()
        blob.write_bytes(b"large")
        with topics_of(self.secrets["redis-url"]) as topics:
            for number in range(1, 5):
                topics.ask("XADD", "topic", f"{number}-0", "data", f"event {number}")
            topics.ask("XGROUP", "CREATE", "topic", "workflow", "0")
            topics.ask("XREADGROUP", "GROUP", "workflow", "me", "COUNT", "3", "STREAMS", "topic", ">")
            topics.ask("XACK", "topic", "workflow", "1-0", "3-0")

    def messages(self) -> list[bytes]:
        with topics_of(self.secrets["redis-url"]) as topics:
            found = cast("list[tuple[bytes, list[bytes]]]", topics.ask("XRANGE", "topic", "-", "+"))
        return [fields[1] for _, fields in found]


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An archive, and the secrets of the mesh it is of."""
    mesh = Mesh(tmp_path_factory.mktemp("source"))
    mesh.prepare()
    with running(mesh.postgres, mesh.layout.state / "pg.log"), running(mesh.valkey, mesh.layout.state / "valkey.log"):
        mesh.fill()
        said: list[str] = []
        path = create(mesh.source(), tmp_path_factory.mktemp("to"), PASSPHRASE, say=said.append)
    assert any("Messages on their way: 3" in line for line in said), said
    return path, mesh.layout.secrets_file.read_text()


class TestWhole:
    def test_all_of_it_comes_back_elsewhere(self, backup: tuple[Path, str], tmp_path: Path) -> None:
        path, secrets = backup
        mesh = Mesh(tmp_path)
        Restore(mesh.layout, APPS, {}, print).run(path, PASSPHRASE, replace=False)
        mesh.prepare()
        assert json.loads(secrets)["identity-key-gateway"] == mesh.secrets["identity-key-gateway"]
        assert (mesh.layout.state / "blobs" / "abc").read_bytes() == b"large"
        assert mesh.layout.seeded_marker.exists()
        assert not (mesh.layout.state / "restoring").exists()
        with (
            running(mesh.postgres, tmp_path / "pg.log"),
            running(mesh.valkey, tmp_path / "valkey.log"),
            psycopg.connect(mesh.secrets["database-url-workflow"]) as connection,
        ):
            assert connection.execute("SELECT id, near::text FROM runs").fetchall() == [("run_1", "[1,2]")]
            # The second was handed out and never dealt with; the fourth nobody had seen.
            assert mesh.messages() == [b"event 2", b"event 3", b"event 4"]

    def test_a_service_still_sees_nothing_of_another(self, backup: tuple[Path, str], tmp_path: Path) -> None:
        mesh = Mesh(tmp_path)
        Restore(mesh.layout, APPS, {}, print).run(backup[0], PASSPHRASE, replace=False)
        mesh.prepare()
        with (
            running(mesh.postgres, tmp_path / "pg.log"),
            psycopg.connect(mesh.secrets["database-url-gateway"]) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("SELECT * FROM workflow.runs")

    def test_what_is_there_is_replaced_only_when_told_and_kept(self, backup: tuple[Path, str], tmp_path: Path) -> None:
        mesh = Mesh(tmp_path)
        mesh.layout.secrets_file.write_text('{"redis-url": "mine"}')
        restore = Restore(mesh.layout, APPS, {}, print)
        with pytest.raises(BackupError, match="REPLACE=yes"):
            restore.run(backup[0], PASSPHRASE, replace=False)
        assert mesh.layout.secrets_file.read_text() == '{"redis-url": "mine"}'
        restore.run(backup[0], PASSPHRASE, replace=True)
        (kept,) = mesh.layout.state.glob("replaced-*/secrets.json")
        assert kept.read_text() == '{"redis-url": "mine"}'

    def test_a_wrong_passphrase_changes_nothing(self, backup: tuple[Path, str], tmp_path: Path) -> None:
        mesh = Mesh(tmp_path)
        with pytest.raises(BackupError, match="not the passphrase"):
            Restore(mesh.layout, APPS, {}, print).run(backup[0], "another passphrase", replace=True)
        assert list(mesh.layout.state.iterdir()) == []

    def test_a_running_mesh_is_left_alone(self, backup: tuple[Path, str], tmp_path: Path) -> None:
        mesh = Mesh(tmp_path)
        with holding_lock(mesh.layout.lock_file), pytest.raises(MeshError, match="already running"):
            Restore(mesh.layout, APPS, {}, print).run(backup[0], PASSPHRASE, replace=True)

    def test_the_archive_is_for_its_owner_and_keeps_secrets_closed(self, backup: tuple[Path, str]) -> None:
        path, secrets = backup
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert json.loads(secrets)["provider-master-key"].encode() not in path.read_bytes()


class TestOwnServers:
    def test_a_database_with_data_is_overwritten_only_when_told(self, backup: tuple[Path, str], tmp_path: Path) -> None:
        theirs = Mesh(tmp_path / "theirs")
        theirs.prepare()
        mesh = Mesh(tmp_path / "ours")
        with (
            running(theirs.postgres, tmp_path / "pg.log"),
            running(theirs.valkey, tmp_path / "valkey.log"),
            topics_of(theirs.secrets["redis-url"]) as topics,
        ):
            own = {"DATABASE_URL": theirs.postgres.admin_url, "REDIS_URL": theirs.secrets["redis-url"]}
            restore = Restore(mesh.layout, APPS, own, print)
            assert not database.holds_data(theirs.postgres.admin_url)
            restore.run(backup[0], PASSPHRASE, replace=False)
            assert topics.streams() == [b"topic"]
            mesh.layout.secrets_file.unlink()
            (mesh.layout.state / "seeded").unlink()
            (mesh.layout.state / "blobs").rename(tmp_path / "blobs")
            with pytest.raises(BackupError, match="REDIS_URL"):
                restore.run(backup[0], PASSPHRASE, replace=False)
            restore.run(backup[0], PASSPHRASE, replace=True)
            with psycopg.connect(database.url_of(theirs.postgres.admin_url)) as connection:
                assert connection.execute("SELECT count(*) FROM workflow.runs").fetchone() == (1,)

    def test_a_database_that_is_away_is_said_in_one_line(self, tmp_path: Path) -> None:
        nowhere = f"postgresql://postgres:x@127.0.0.1:{free_port()}/postgres"
        with (
            pytest.raises(BackupError, match="PostgreSQL cannot be reached"),
            database.exported_snapshot(nowhere),
        ):
            raise AssertionError("there is no database")


class TestArchive:
    def test_every_changed_byte_is_noticed(self, tmp_path: Path) -> None:
        path = small_archive(tmp_path)
        content = bytearray(path.read_bytes())
        content[content.index(b"dumpdump") + 100] ^= 1
        path.write_bytes(content)
        with pytest.raises(BackupError, match=r"postgres\.dump of the archive is damaged"), archive.reading(path):
            raise AssertionError("it was read")

    def test_one_that_was_cut_off_is_refused(self, tmp_path: Path) -> None:
        path = small_archive(tmp_path)
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(BackupError), archive.reading(path):
            raise AssertionError("it was read")

    @pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "unknown"])
    def test_a_part_that_does_not_belong_there_is_refused(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "odd.tar"
        with archive.writing(path) as writer:
            writer.add_bytes(name, b"x")
            if name == "unknown":
                writer.members.clear()
            writer.finish(ABOUT)
        with pytest.raises(BackupError, match="knows nothing"), archive.reading(path):
            raise AssertionError("it was read")

    def test_one_without_a_database_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "empty.tar"
        with archive.writing(path) as writer:
            writer.finish(ABOUT)
        with pytest.raises(BackupError, match=r"lacks postgres\.dump"), archive.reading(path):
            raise AssertionError("it was read")

    def test_nothing_is_left_of_one_that_failed(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError), archive.writing(tmp_path / "failed.tar"):
            raise RuntimeError
        assert list(tmp_path.iterdir()) == []

    def test_one_of_a_newer_version_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "newer.tar"
        with archive.writing(path) as writer:
            for name in (archive.DUMP, archive.TOPICS, archive.SECRETS):
                writer.add_bytes(name, b"")
            writer.finish(ABOUT.model_copy(update={"crewmesh": "99.0.0"}))
        with pytest.raises(BackupError, match=r"of Crewmesh 99\.0\.0"):
            Restore(Mesh(tmp_path / "mesh").layout, APPS, {}, print).run(path, PASSPHRASE, replace=False)

    def test_a_file_that_is_no_archive_is_said_to_be_none(self, tmp_path: Path) -> None:
        path = tmp_path / "text.tar"
        path.write_text("not a tar")
        with pytest.raises(BackupError, match="is not a backup"), archive.reading(path):
            raise AssertionError("it was read")


class TestSealing:
    def test_what_was_sealed_is_unsealed(self) -> None:
        assert unseal(seal(b"secret", PASSPHRASE), PASSPHRASE) == b"secret"

    def test_the_same_is_never_sealed_alike(self) -> None:
        assert seal(b"secret", PASSPHRASE) != seal(b"secret", PASSPHRASE)

    def test_a_short_passphrase_is_refused(self) -> None:
        with pytest.raises(BackupError, match="too short"):
            seal(b"secret", "short")

    @pytest.mark.parametrize("sealed", [b"", b"{}", b'{"cost": 4294967296, "salt": "", "nonce": "", "text": ""}'])
    def test_nonsense_is_refused(self, sealed: bytes) -> None:
        with pytest.raises(BackupError, match="damaged"):
            unseal(sealed, PASSPHRASE)


class TestCommand:
    def test_verifies(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert command.main(["verify", str(small_archive(tmp_path))]) == 0
        assert "is whole: 4 parts" in capsys.readouterr().out

    def test_says_what_is_missing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert command.main(["verify", str(tmp_path / "none.tar")]) == 1
        assert "There is no backup at" in capsys.readouterr().err

    def test_there_must_be_a_mesh(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv(command.PASSPHRASE, PASSPHRASE)
        assert command.main(["create", "--home", str(tmp_path)]) == 1
        assert "There is no mesh" in capsys.readouterr().err

    def test_the_passphrase_comes_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
        assert command.passphrase_of(tmp_path / "passphrase", twice=True) == PASSPHRASE
        with pytest.raises(BackupError, match="cannot be read"):
            command.passphrase_of(tmp_path / "none", twice=True)

    def test_success_is_told_to_prometheus(self, tmp_path: Path) -> None:
        path = write_metrics(tmp_path / "metrics", small_archive(tmp_path), 1.25)
        lines = path.read_text().splitlines()
        (when,) = [line for line in lines if line.startswith("crewmesh_backup_last_success_timestamp_seconds ")]
        assert abs(float(when.split()[1]) - datetime.now(UTC).timestamp()) < 60
        assert "crewmesh_backup_last_duration_seconds 1.2" in path.read_text()
        assert [each.name for each in path.parent.iterdir()] == ["backup.prom"]


def test_an_archive_is_a_plain_tar(tmp_path: Path) -> None:
    with tarfile.open(small_archive(tmp_path)) as tar:
        assert tar.getnames()[-1] == archive.MANIFEST
