"""Input files and what is piped in, as bytes and as text."""

from __future__ import annotations

from pathlib import Path

from maskviz.core.errors import NotFoundError

# Ten million bytes are more text than any attention map can show, and a million gates as JSON.
LARGEST_TEXT = 10_000_000


def bytes_of(path: Path, what: str) -> bytes:
    """The content of an input file.

    Raises:
        NotFoundError: it cannot be read or is larger than any text or mask.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_TEXT + 1)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise NotFoundError(f"{what} {str(path)!r} cannot be read: {said}", "check the path") from error
    if len(content) > LARGEST_TEXT:
        raise NotFoundError(f"{what} {str(path)!r} has more than 10 MB", "it must be smaller")
    return content


def decoded(raw: bytes, name: str) -> str:
    """UTF-8 bytes as text.

    Raises:
        NotFoundError: they are not UTF-8.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotFoundError(
            f"{name} is not UTF-8 at byte {error.start}", "convert it, such as with iconv -t utf-8"
        ) from error
