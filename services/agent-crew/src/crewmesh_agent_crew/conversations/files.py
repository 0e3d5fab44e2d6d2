"""What may be attached: plain text, and images that are what they say and no larger than they look.

An image is never decoded here. Its header tells its size in pixels, so that one that would unfold to gigabytes at
whoever decodes it is refused.
"""

from __future__ import annotations

import re
import struct
import unicodedata

from crewmesh_kit.errors import ValidationFailed
from crewmesh_kit.ids import new_id

from crewmesh_agent_crew.conversations.errors import AttachmentRefused, AttachmentTooLarge
from crewmesh_agent_crew.conversations.models import File

MOST_BYTES = 4_000_000
_MOST_TEXT_BYTES = 1_000_000
_MOST_PIXELS = 50_000_000
_LONGEST_SIDE = 16_000
_LONGEST_NAME = 200
_TEXTS = frozenset({"text/plain", "text/markdown", "text/csv", "application/json"})
_PATH = re.compile(r"[/\\:]|^\.+$")
# Start of frame, in its variants; what else begins with C is something else.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def checked(name: str, media_type: str, content: bytes) -> File:
    """The file, if it may be attached. Raises what is wrong with it."""
    kind = media_type.partition(";")[0].strip().lower()
    if not content:
        raise AttachmentRefused("The file is empty.")
    if len(content) > MOST_BYTES:
        raise AttachmentTooLarge(f"The file has {len(content)} bytes; up to {MOST_BYTES} can be attached.")
    if kind in _TEXTS:
        _check_text(content)
    elif kind in _PIXELS:
        _check_image(kind, content)
    else:
        known = ", ".join(sorted({*_TEXTS, *_PIXELS}))
        raise AttachmentRefused(f"Files of the type {kind[:60]!r} cannot be attached; these can: {known}.")
    return File(new_id("att"), _checked_name(name), kind, len(content), content)


def _checked_name(name: str) -> str:
    """A name, and nothing else: no path, nothing invisible, nothing that turns what stands beside it around."""
    plain = unicodedata.normalize("NFC", name).strip()
    invisible = any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in plain)
    if not plain or len(plain) > _LONGEST_NAME or invisible or _PATH.search(plain):
        raise ValidationFailed(
            f"The name of the file must be 1 to {_LONGEST_NAME} visible characters without / \\ and :, such as "
            "report.txt.",
            errors=[{"path": "query.name", "message": "is no plain file name"}],
        )
    return plain


def _check_text(content: bytes) -> None:
    if len(content) > _MOST_TEXT_BYTES:
        raise AttachmentTooLarge(f"The text has {len(content)} bytes; up to {_MOST_TEXT_BYTES} can be attached.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AttachmentRefused(f"The file is no text in UTF-8 (byte {error.start}); save it as UTF-8.") from error
    if "\0" in text:
        raise AttachmentRefused("The file holds NUL characters: it is no text.")


def _check_image(kind: str, content: bytes) -> None:
    try:
        size = _PIXELS[kind](content)
    except (struct.error, IndexError):
        size = None
    if size is None or 0 in size:
        raise AttachmentRefused(f"The file is not of the type {kind} that it is sent as, or it is damaged.")
    width, height = size
    if width * height > _MOST_PIXELS or max(size) > _LONGEST_SIDE:
        raise AttachmentTooLarge(
            f"The image has {width} × {height} pixels; up to {_MOST_PIXELS // 1_000_000} million can be attached, and "
            f"{_LONGEST_SIDE} at a side."
        )


def _png(content: bytes) -> tuple[int, int] | None:
    if not content.startswith(b"\x89PNG\r\n\x1a\n") or content[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _gif(content: bytes) -> tuple[int, int] | None:
    if content[:6] not in (b"GIF87a", b"GIF89a"):
        return None
    width, height = struct.unpack_from("<HH", content, 6)
    return width, height


def _jpeg(content: bytes) -> tuple[int, int] | None:
    if not content.startswith(b"\xff\xd8\xff"):
        return None
    place = 2
    while content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, place + 5)
            return width, height
        (length,) = struct.unpack_from(">H", content, place + 2)
        if length < 2:
            return None
        place += 2 + length
    return None


def _webp(content: bytes) -> tuple[int, int] | None:
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return None
    match content[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", content, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", content, 21)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case _:
            return None


_PIXELS = {"image/png": _png, "image/gif": _gif, "image/jpeg": _jpeg, "image/webp": _webp}
