"""Which passwords are good enough, after NIST SP 800-63B: long ones that are not everybody's first idea.

There are no rules about digits or capitals: they make passwords harder to remember and no harder to guess.
"""

from __future__ import annotations

from crewmesh_kit.errors import ValidationFailed
from pydantic import SecretStr

SHORTEST, LONGEST = 12, 256
_FEWEST_DIFFERENT = 4
# Of the passwords found most often in leaks those that are long enough, and the ways in which short ones are made long.
_COMMON_TEXT = """
123456789012 1234567890123 12345678901234 123456789012345 1234567890123456 123456123456 123123123123 123412341234
0123456789012 987654321012 098765432109 abcdefghijkl abcdefghijklm abcdefghijklmnop abcd1234abcd1234 abc123abc123
1q2w3e4r5t6y 1q2w3e4r5t6y7u 1q2w3e4r5t6y7u8i 1qaz2wsx3edc 1qaz2wsx3edc4rfv zaq12wsxcde3 qazwsxedcrfv qwerty123456
qwertyuiop12 qwertyuiop123 qwertyuiop123456 qwertyuiop[] qwertyuiopasdf qwertyuiopasdfgh qwertyuiopasdfghjkl
qwertyuiopasdfghjklzxcvbnm qwertyqwerty qwerty12345678 asdfghjkl123 asdfasdfasdf zxcvbnm12345 zxcvbnmasdfghjkl
password1234 password12345 password123456 password123! password1234! passwordpassword passw0rd1234 p@ssw0rd1234
p@ssword1234 mypassword123 mypassword1234 yourpassword changemenow1 changeme1234 changemechangeme letmein12345
letmeinletmein welcome12345 welcome123456 welcomewelcome administrator administrator1 administrator123 admin1234567
admin123admin root12345678 iloveyou1234 iloveyou12345 iloveyouforever ilovechocolate sunshine1234 princess1234
football1234 baseball1234 dragon123456 monkey123456 master123456 shadow123456 superman1234 batman123456
trustno1trustno1 michael12345 jennifer1234 charlie12345 computer1234 internet1234 secret123456 default12345
temporary123 testtesttest test12345678 testing12345 starwars1234 pokemon12345 correcthorsebatterystaple crewmesh1234
crewmeshcrewmesh
"""
_COMMON = frozenset(_COMMON_TEXT.split())


class PasswordRefused(ValidationFailed):
    """The new password is too short, too long, or one that is guessed first. Choose another; some random words do."""

    slug, title = "password-refused", "Password refused"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"This password {why}. Choose another of {SHORTEST} to {LONGEST} characters; some random words do well.",
            errors=[{"path": "body.password", "message": why}],
        )


def check(password: SecretStr, *, about: tuple[str, ...]) -> None:
    """``about``: the address and the names of its owner, which others know as well."""
    text = password.get_secret_value()
    if len(text) < SHORTEST:
        raise PasswordRefused("is too short")
    if len(text) > LONGEST:
        raise PasswordRefused("is too long")
    plain = _plain(text)
    if plain in _COMMON or len(set(plain)) < _FEWEST_DIFFERENT:
        raise PasswordRefused("is one of those that are guessed first")
    known = {_plain(form) for each in about for form in (each, each.partition("@")[0])}
    if plain in known:
        raise PasswordRefused("is the address or the name it belongs to")


def _plain(text: str) -> str:
    return "".join(text.casefold().split())
