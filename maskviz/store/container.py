"""A .npz as what lies in it: the type, shape and size of every array are known before one of them is unpacked."""

from __future__ import annotations

import io
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from maskviz.core.arrays import AnyArray

_SUFFIX = ".npy"
# A header is one line; numpy itself refuses one above 10,000 bytes.
_HEADER = 12_000
# What zipfile, zlib and numpy raise at bytes that are no .npz, or none that is written by numpy.
_DAMAGED = (
    OSError, EOFError, MemoryError, NotImplementedError, RuntimeError, ValueError, OverflowError, TypeError,
    SyntaxError, KeyError, IndexError, struct.error, zipfile.BadZipFile, zlib.error, tokenize.TokenError, UserWarning,
)  # fmt: skip


class DamagedError(ValueError):
    """Bytes that cannot be read as a .npz of plain arrays."""


@dataclass(frozen=True, slots=True)
class Header:
    """An array that is still packed.

    Attributes:
        dtype: Its type.
        shape: Its shape.
        size: Bytes it unpacks to.
    """

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    size: int


class Container:
    """An open .npz.

    Attributes:
        headers: Every array that lies in it, by name.
    """

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self.headers: Mapping[str, Header] = {}
        found: dict[str, Header] = {}
        with _damage_said():
            for entry in file.infolist():
                name = entry.filename.removesuffix(_SUFFIX)
                if not entry.filename.endswith(_SUFFIX) or name in found:
                    raise DamagedError(f"it holds {entry.filename[:60]!r}, which is no array of its own")
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise DamagedError(f"{name[:60]!r} is packed in a way that numpy does not write")
                found[name] = self._header(entry)
        self.headers = found

    def read(self, name: str) -> AnyArray:
        """Unpack one array. Nothing in it is executed.

        Raises:
            DamagedError: its bytes are not what the directory says.
        """
        with _damage_said(), self._file.open(f"{name}{_SUFFIX}") as stream:
            array: AnyArray = np.lib.format.read_array(stream, allow_pickle=False)
            if stream.read(1):  # also makes zipfile compare the checksum
                raise DamagedError(f"{name!r} is longer than its header says")
        return array

    def _header(self, entry: zipfile.ZipInfo) -> Header:
        with self._file.open(entry) as stream:
            head = io.BytesIO(stream.read(_HEADER))
        version = np.lib.format.read_magic(head)
        if version not in ((1, 0), (2, 0)):
            raise DamagedError(
                f"{entry.filename[:60]!r} is of version {version} of .npy, which numpy writes for no run"
            )
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(head)
        if dtype.hasobject:
            raise DamagedError(f"{entry.filename[:60]!r} holds objects, which are not opened")
        size = dtype.itemsize
        for length in shape:
            size *= length
        if min(shape, default=0) < 0 or entry.file_size != size + head.tell():
            raise DamagedError(f"{entry.filename[:60]!r} has not the {size:,} bytes that its shape {shape} takes")
        return Header(dtype, shape, size)


@contextmanager
def opened(file: BinaryIO) -> Iterator[Container]:
    """The .npz in an open file.

    Raises:
        DamagedError: it is none.
    """
    with _damage_said():
        archive = zipfile.ZipFile(file)
    with archive:
        yield Container(archive)


@contextmanager
def _damage_said() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # numpy's at a header of Python 2, which wrote none of ours
            yield
    except DamagedError:
        raise
    except _DAMAGED as error:
        raise DamagedError(" ".join(str(error).split())[:160] or type(error).__name__) from error
