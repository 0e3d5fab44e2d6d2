"""Mails: written down with what they tell, and sent once, whatever the server on the other side does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from crewmesh_gateway.mail.models import Mail, WaitingMail, message_of
from crewmesh_gateway.mail.service import Mailer
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import MailSettings
from crewmesh_kit.db.database import Database
from crewmesh_testkit import FakeSidecar, running
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from pydantic import SecretStr

from .gateway import until
from .guests import account_settings
from .inside import change, held, rows
from .people import mails
from .post import PostOffice, parsed, post_office, text_of

LETTER = Mail("ada@example.org", "Hello", "Good day, {{7*7}} \u202e Ada.\n.\nA line with one dot was before this one.")


async def post(app: FastAPI, mail: Mail = LETTER) -> None:
    async with held(app, Database).system() as conn:
        await held(app, Mailer).send(conn, mail)


async def none_left(app: FastAPI) -> None:
    async def empty() -> bool:
        return not await rows(app, "SELECT 1 FROM mails")

    await until(empty)


def by_smtp(office: PostOffice, **other: object) -> MailSettings:
    told: dict[str, object] = {"host": "127.0.0.1", "port": office.port, "tls": "none", "first_pause_seconds": 0.05}
    return MailSettings.model_validate({**told, **other})


@pytest.fixture
def url(database_url: Callable[[str], str]) -> str:
    return database_url("gateway")


async def test_a_mail_arrives_once_and_is_forgotten(office: PostOffice, url: str, sidecar: FakeSidecar) -> None:
    app = create_app(account_settings(url, mail=by_smtp(office, sender="Crew & Mesh <post@crew.example>")), sidecar)
    async with running(app):
        await post(app)
        await none_left(app)
    [message] = office.arrived
    assert office.envelopes == [("post@crew.example", ["ada@example.org"])]
    assert text_of(message).rstrip("\n") == LETTER.text
    assert (message["Subject"], message["To"]) == ("Hello", "ada@example.org")
    assert message["From"].addresses[0].display_name == "Crew & Mesh"
    assert message["Message-ID"].endswith("@crew.example>")
    assert message["Auto-Submitted"] == "auto-generated"


async def test_what_is_rolled_back_is_not_sent(office: PostOffice, url: str, sidecar: FakeSidecar) -> None:
    app = create_app(account_settings(url, mail=by_smtp(office)), sidecar)
    async with running(app):

        async def fail() -> None:
            async with held(app, Database).tenant("org_1") as conn:
                await held(app, Mailer).send(conn, LETTER)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        async with held(app, Database).tenant("org_1") as conn:  # an organization may send, and sees nothing
            await held(app, Mailer).send(conn, Mail("bea@example.org", "Hello", "From an organization."))
            assert await (await conn.execute("SELECT id FROM mails")).fetchall() == []
        await none_left(app)
    assert [message["To"] for message in office.arrived] == ["bea@example.org"]


async def test_a_server_that_is_busy_is_asked_again(office: PostOffice, url: str, sidecar: FakeSidecar) -> None:
    office.answers = ["451 try again later", "421 going down"]
    app = create_app(account_settings(url, mail=by_smtp(office)), sidecar)
    async with running(app):
        await post(app)
        await none_left(app)
    assert len(office.arrived) == 1


async def test_a_server_that_comes_later_gets_what_waited(url: str, sidecar: FakeSidecar) -> None:
    nobody = MailSettings(host="127.0.0.1", port=1, tls="none", first_pause_seconds=0.05)
    app = create_app(account_settings(url, mail=nobody), sidecar)
    async with running(app):
        await post(app)

        async def tried() -> bool:
            return bool(await rows(app, "SELECT 1 FROM mails WHERE attempts >= 2 AND trouble IS NOT NULL"))

        await until(tried)
    async with post_office() as office:
        later = create_app(account_settings(url, mail=by_smtp(office)), sidecar)
        async with running(later):
            # An attempt that the end of the first one broke off keeps its lease for longer than a test waits.
            await rows(later, "UPDATE mails SET due_at = now() RETURNING id")
            await none_left(later)
        assert len(office.arrived) == 1


async def test_whom_the_server_does_not_know_is_given_up(office: PostOffice, url: str, sidecar: FakeSidecar) -> None:
    office.refuse_recipient = "550 no such mailbox"
    app = create_app(account_settings(url, mail=by_smtp(office)), sidecar)
    async with running(app):
        await post(app)

        async def given_up() -> bool:
            return bool(await rows(app, "SELECT 1 FROM mails WHERE gave_up_at IS NOT NULL"))

        await until(given_up)
        [row] = await rows(app, "SELECT attempts, sealed, trouble FROM mails")
    assert (row["attempts"], row["sealed"]) == (1, None)
    assert "no such mailbox" in row["trouble"]


async def test_attempts_end_some_day(office: PostOffice, url: str, sidecar: FakeSidecar) -> None:
    office.answers = ["451 never"] * 10
    app = create_app(account_settings(url, mail=by_smtp(office, attempts=3, first_pause_seconds=0.01)), sidecar)
    async with running(app):
        await post(app)

        async def given_up() -> bool:
            return bool(await rows(app, "SELECT 1 FROM mails WHERE gave_up_at IS NOT NULL AND attempts = 3"))

        await until(given_up)
    assert len(office.answers) == 7


async def test_replicas_send_each_mail_once(office: PostOffice, url: str, sidecar: FakeSidecar) -> None:
    settings = account_settings(url, mail=by_smtp(office))
    first, second = create_app(settings, sidecar), create_app(settings, sidecar)
    async with running(first), running(second):
        await asyncio.gather(
            *(post((first, second)[n % 2], Mail(f"p{n}@example.org", "Hello", "Hello")) for n in range(40))
        )
        await none_left(first)
    assert sorted(str(message["To"]) for message in office.arrived) == sorted(f"p{n}@example.org" for n in range(40))


async def test_a_mail_that_another_died_with_is_sent_with_the_same_id(
    office: PostOffice, url: str, sidecar: FakeSidecar
) -> None:
    silent = create_app(account_settings(url, mail=MailSettings()), sidecar)
    async with running(silent):
        await post(silent)
        await change(silent, "UPDATE mails SET attempts = 1, due_at = now() + interval '1 second'")
        [row] = await rows(silent, "SELECT id FROM mails")
    app = create_app(account_settings(url, mail=by_smtp(office)), sidecar)
    async with running(app):
        await none_left(app)
    assert office.arrived[0]["Message-ID"] == f"<{row['id']}@localhost>"


async def test_logging_in_to_the_server_over_tls(
    url: str, sidecar: FakeSidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with post_office(tls=context, login=True) as office:
        told = {"tls": "starttls", "host": "localhost", "user": "crew", "password": SecretStr("right")}
        app = create_app(account_settings(url, mail=by_smtp(office, **told)), sidecar)
        async with running(app):
            await post(app)

            async def refused() -> bool:
                return bool(await rows(app, "SELECT 1 FROM mails WHERE trouble LIKE %s", "%certificate%"))

            await until(refused)
            assert not office.logins, "nobody is told the password who cannot prove to be the server"
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            await none_left(app)
        assert office.logins == [("crew", "right")]


async def test_without_a_server_mails_are_files(url: str, sidecar: FakeSidecar, tmp_path: Path) -> None:
    outbox = tmp_path / "mail"
    app = create_app(account_settings(url, mail=MailSettings(outbox=outbox)), sidecar)
    async with running(app):
        await post(app)
        await none_left(app)
    [file] = outbox.iterdir()
    assert (file.suffix, file.stat().st_mode & 0o777, outbox.stat().st_mode & 0o777) == (".eml", 0o600, 0o700)
    assert text_of(parsed(file.read_bytes())).rstrip("\n") == LETTER.text


async def test_without_server_and_folder_they_wait(url: str, sidecar: FakeSidecar) -> None:
    app = create_app(account_settings(url, mail=MailSettings()), sidecar)
    async with running(app):
        await post(app)
        assert await mails(app) == [(LETTER.to, LETTER.subject, LETTER.text)]
        kept = str(await rows(app, "SELECT * FROM mails"))
    assert "Good day" not in kept, "links let somebody in, so mails are kept encrypted"


@pytest.mark.parametrize(
    ("to", "subject"),
    [
        ("ada@example.org\r\nBcc: all@example.org", "Hello"),
        ("ada@example.org, eve@example.org", "Hello"),
        ("Ada <ada@example.org>", "Hello"),
        ("ada@example.org>\r\nDATA", "Hello"),
        ("ada@example.org", "Hello\r\nBcc: all@example.org"),
        ("ada@example.org", "Hello\n"),
        ("ada@example.org", "x" * 300),
        ("", "Hello"),
    ],
)
def test_no_header_comes_from_outside(to: str, subject: str) -> None:
    with pytest.raises(ValueError, match=r"mail|@"):
        Mail(to, subject, "text")


def test_html_beside_the_text() -> None:
    mail = Mail("a@example.org", "Grüße", "text ü", "<p>text ü</p>")
    message = message_of(WaitingMail("mail_1", mail, datetime.now(UTC), 1), sender="Crewmesh <c@example.org>")
    assert message.as_bytes().isascii()
    read = parsed(message.as_bytes())
    assert (read["Subject"], text_of(read).strip()) == ("Grüße", "text ü")
    html = read.get_body(("html",))
    assert html is not None
    assert html.get_content().strip() == "<p>text ü</p>"


def self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
