"""Personal data in text: found by shape, and by check digit where there is one; masked so that equal stays equal.

A mask says what stood there and which of them it was: ``[email-1]`` is the same address wherever it stands in a turn.
What was masked is kept nowhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

PersonalKind: TypeAlias = Literal["email", "iban", "card", "national-id", "ip", "phone"]


@dataclass(frozen=True, slots=True)
class Found:
    kind: PersonalKind
    start: int
    end: int
    value: str


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _is_card(text: str) -> bool:
    """Luhn's check digit."""
    digits = [int(digit) for digit in _digits(text)]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [digit if n % 2 == 0 else sum(divmod(digit * 2, 10)) for n, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    """ISO 13616: modulo 97."""
    plain = re.sub(r"[\s-]", "", text).upper()
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def _is_ip(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


def _is_phone(text: str) -> bool:
    digits = _digits(text)
    return 8 <= len(digits) <= 15 and len(set(digits)) > 2


def _is_national(text: str) -> bool:
    """Social security numbers of the USA, of France (with its key), identity numbers of Spain, of the Netherlands,
    PESEL of Poland, codice fiscale of Italy, national insurance numbers of the UK, CPF of Brazil."""
    plain = re.sub(r"[\s.\-]", "", text).upper()
    return any(check(plain, text) for check in _NATIONAL)


def _is_ssn(plain: str, text: str) -> bool:
    match = re.fullmatch(r"(\d{3})-(\d{2})-(\d{4})", text)
    return (
        bool(match) and match[1] not in ("000", "666") and match[1] < "900" and match[2] != "00" and match[3] != "0000"
    )


def _is_nir(plain: str, _: str) -> bool:
    match = re.fullmatch(r"([12]\d{4}(?:\d{2}|2A|2B)\d{6})(\d{2})", plain)
    if match is None:
        return False
    number = int(match[1].replace("2A", "19").replace("2B", "18"))
    return 97 - number % 97 == int(match[2])


def _is_dni(plain: str, _: str) -> bool:
    match = re.fullmatch(r"([XYZ]?)(\d{7,8})([A-Z])", plain)
    if match is None or len(match[1]) + len(match[2]) != 8:
        return False
    number = int(f"{'XYZ'.index(match[1]) if match[1] else ''}{match[2]}")
    return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == match[3]


def _is_pesel(plain: str, _: str) -> bool:
    if not re.fullmatch(r"\d{11}", plain):
        return False
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    month = int(plain[2:4]) % 20
    total = sum(int(digit) * weight for digit, weight in zip(plain, weights, strict=True))
    return total % 10 == 0 and 1 <= month <= 12 and 1 <= int(plain[4:6]) <= 31


def _is_codice(plain: str, _: str) -> bool:
    return re.fullmatch(r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", plain) is not None


def _is_nino(plain: str, _: str) -> bool:
    return re.fullmatch(r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]", plain) is not None


def _is_cpf(plain: str, text: str) -> bool:
    if not re.fullmatch(r"\d{3}\.\d{3}\.\d{3}-\d{2}", text) or len(set(plain)) == 1:
        return False
    for length in (9, 10):
        total = sum(int(plain[n]) * (length + 1 - n) for n in range(length))
        if total * 10 % 11 % 10 != int(plain[length]):
            return False
    return True


_NATIONAL: tuple[Callable[[str, str], bool], ...] = (
    _is_ssn,
    _is_nir,
    _is_dni,
    _is_pesel,
    _is_codice,
    _is_nino,
    _is_cpf,
)
_AT_WORD = r"(?<![A-Za-z0-9])"
_PATTERNS: tuple[tuple[PersonalKind, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("email", re.compile(_AT_WORD + r"[A-Za-z0-9._%+'-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"), bool),
    ("iban", re.compile(_AT_WORD + r"[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])"), _is_iban),
    (
        "national-id",
        re.compile(
            _AT_WORD
            + r"(?:\d{3}-\d{2}-\d{4}|\d{3}\.\d{3}\.\d{3}-\d{2}|[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}"
            r"|[XYZxyz]?-?\d{7,8}-?[A-Za-z]|\d{11}|[A-Za-z]{6}\d{2}[A-Za-z]\d{2}[A-Za-z]\d{3}[A-Za-z]"
            r"|[A-Za-z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d])(?![A-Za-z0-9])"
        ),
        _is_national,
    ),
    ("card", re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)"), _is_card),
    ("ip", re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)"), _is_ip),
    ("ip", re.compile(r"(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4}(?![0-9A-Fa-f:])"), _is_ip),
    ("phone", re.compile(r"(?<![\d+])(?<!\d )(?:\+|00)[1-9]\d{0,2}(?:[ ./-]?\(?\d{1,4}\)?){2,6}(?!\d)"), _is_phone),
    (
        "phone",
        re.compile(r"(?<![\d.+-])(?:\(0?\d{2,4}\) ?|(?<!\d )0[1-9]\d{0,3}[ /-])\d{2,4}(?:[ -]?\d{2,4}){1,3}(?!\d)"),
        _is_phone,
    ),
    ("phone", re.compile(r"(?<![\d.+-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\d)"), _is_phone),
)


def personal_data(text: str) -> list[Found]:
    """In the order of the text; of what overlaps, the kind that is more certain."""
    taken: list[Found] = []
    occupied = bytearray(len(text))
    for found in _matches(text):
        if not any(occupied[found.start : found.end]):
            occupied[found.start : found.end] = b"\x01" * (found.end - found.start)
            taken.append(found)
    return sorted(taken, key=lambda found: found.start)


def _matches(text: str) -> Iterator[Found]:
    for kind, pattern, is_one in _PATTERNS:
        for match in pattern.finditer(text):
            if is_one(match[0]):
                yield Found(kind, match.start(), match.end(), match[0])


@dataclass(slots=True)
class Masks:
    """The masks of one turn: numbered as they come up, which is the same after a crash."""

    _numbers: dict[tuple[PersonalKind, str], int] = field(default_factory=dict[tuple[PersonalKind, str], int])

    def mask(self, text: str) -> str:
        parts: list[str] = []
        end = 0
        for found in personal_data(text):
            parts += [text[end : found.start], self._mask_of(found)]
            end = found.end
        return "".join([*parts, text[end:]])

    def _mask_of(self, found: Found) -> str:
        value = found.value.lower() if found.kind == "email" else re.sub(r"[^0-9a-z]", "", found.value.lower())
        place = (found.kind, value)
        if place not in self._numbers:
            self._numbers[place] = 1 + sum(kind == found.kind for kind, _ in self._numbers)
        return f"[{found.kind}-{self._numbers[place]}]"
