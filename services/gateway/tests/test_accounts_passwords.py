"""Which passwords are taken, and how many are hashed at once."""

from __future__ import annotations

import asyncio

import pytest
from crewmesh_gateway.accounts import password_rules
from crewmesh_gateway.accounts.errors import PasswordsBusy
from crewmesh_gateway.accounts.fields import EmailAddress, Password
from crewmesh_gateway.accounts.password_rules import PasswordRefused
from crewmesh_gateway.accounts.passwords import Passwords
from crewmesh_gateway.settings import PasswordSettings
from pydantic import SecretStr, TypeAdapter, ValidationError

ABOUT = ("ada.lovelace@example.org", "Ada Lovelace the First")


@pytest.mark.parametrize(
    "text",
    [
        "tiny",
        "eleven char",
        "x" * 257,
        "aaaaaaaaaaaaaaaa",
        "abababababab",
        "123456789012",
        "Password1234",
        "correct horse battery staple",
        "qwertyuiopasdfghjkl",
        "ada.lovelace@example.org",
        "ADA.LOVELACE",
        "ada lovelace the first",
    ],
)
def test_passwords_that_are_guessed_first(text: str) -> None:
    with pytest.raises(PasswordRefused) as refused:
        password_rules.check(SecretStr(text), about=ABOUT)
    assert text not in refused.value.detail, "it is not told back"


@pytest.mark.parametrize(
    "text",
    [
        "four plain random words",
        "пароль из нескольких слов",
        "密码密码一二三四五六七八九十",
        "x1" * 6 + "yz",
        "😀😁😂🤣😃😄😅😆😉😊😋😎",
    ],
)
def test_passwords_without_any_digits_or_capitals_are_fine(text: str) -> None:
    password_rules.check(SecretStr(text), about=ABOUT)


def test_the_same_password_from_another_keyboard() -> None:
    read = TypeAdapter[SecretStr](Password).validate_python
    assert read("ﬁne cafe\u0301").get_secret_value() == "fine café"
    with pytest.raises(ValidationError, match="NUL"):
        read("with a \0 in it, long enough")
    with pytest.raises(ValidationError):
        read("a lone \ud800 surrogate")


@pytest.mark.parametrize(
    "address",
    [
        "a@b@c.org",
        "no-at.example.org",
        "a b@example.org",
        "a@exa mple.org",
        "a@example.org\r\nBcc: all@example.org",
        "a\0@example.org",
        "<a@example.org>",
        '"a b"@example.org',
        "a@[127.0.0.1]",
        "a@127.0.0.1",
        "a@-x.org",
        "a@x..org",
        ".a@example.org",
        "a..b@example.org",
        "ä@example.org",
        f"{'x' * 65}@example.org",
        f"a@{'x' * 250}.org",
        "a@xn--a.org",
        "a@example.org,b@example.org",
        "\u202ea@example.org",
    ],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[str](EmailAddress).validate_python(address)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Ada+x@Example.ORG", "Ada+x@Example.ORG"),
        (" a@b.org ", "a@b.org"),
        ("o'hara@intranet", "o'hara@intranet"),
        ("a@BÜCHER.de", "a@bücher.de"),
        ("a@xn--bcher-kva.de", "a@bücher.de"),
        ("{{7*7}}@example.org", "{{7*7}}@example.org"),
    ],
)
def test_addresses(given: str, kept: str) -> None:
    assert TypeAdapter[str](EmailAddress).validate_python(given) == kept


async def test_weaker_hashes_are_made_anew_and_nobodys_takes_as_long() -> None:
    password = SecretStr("four plain random words")
    async with Passwords.open(PasswordSettings(memory_kib=64, passes=1)) as old:
        weak = await old.hashed(password)
    async with Passwords.open(PasswordSettings(memory_kib=128, passes=2)) as new:
        checked = await new.check(password, weak)
        assert checked.right
        assert checked.better is not None
        assert checked.better.startswith("$argon2id$v=19$m=128,t=2,p=1$")
        assert await new.check(password, checked.better) == type(checked)(right=True)
        assert not (await new.check(SecretStr("wrong"), weak)).right
        assert not (await new.check(password, None)).right


async def test_the_queue_ends_somewhere() -> None:
    async with Passwords.open(PasswordSettings(memory_kib=64, passes=1, at_once=1, waiting=2)) as passwords:
        release = asyncio.Event()
        served: list[int] = []

        async def come(number: int) -> None:
            async with passwords.turn():
                await release.wait()
                served.append(number)

        inside = [asyncio.create_task(come(number)) for number in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(PasswordsBusy) as busy:
            await come(5)
        assert busy.value.headers["Retry-After"] == "2"
        inside[3].cancel()
        await asyncio.gather(inside[3], return_exceptions=True)
        inside.append(asyncio.create_task(come(6)))
        release.set()
        await asyncio.gather(*inside, return_exceptions=True)
        assert served == [0, 1, 2, 4, 6]
