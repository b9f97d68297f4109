"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from maskviz.core.errors import NotFoundError


def check_writable(path: Path) -> None:
    """Make sure a file can be written, before any work is done for it.

    Raises:
        NotFoundError: its folder does not exist or may not be written, or the path is no place for a regular file.
    """
    try:
        target = path.resolve()
        exists, regular = target.exists(), target.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, a loop of links
        said = getattr(error, "strerror", None) or str(error)
        raise NotFoundError(f"cannot write {str(path)[:60]!r}: {said}", "choose another name") from error
    if target.is_dir():
        raise NotFoundError(f"cannot write {str(path)!r}: it is a folder", "name a file in it")
    if exists and not regular:
        raise NotFoundError(f"cannot write {str(path)!r}: it is no regular file", "name another")
    folder = path.parent
    if not folder.is_dir():
        raise NotFoundError(
            f"cannot write {str(path)!r}: folder {str(folder)!r} does not exist", "make the folder first"
        )
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise NotFoundError(f"cannot write {str(path)!r}: permission denied", "choose another place")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there, so that a reader never meets half of it.

    Raises:
        NotFoundError: the disk is full or the place has become unwritable.
    """
    temporary = ""
    path = path.resolve()  # a link is written through, not replaced
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:40]}.", delete=False) as file:
            temporary = file.name
            file.write(content)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except OSError as error:
        raise NotFoundError(f"cannot write {str(path)!r}: {error.strerror}", "check the disk and the folder") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    """The mask new files get; asked by setting it, there is no other way."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
