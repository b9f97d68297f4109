"""A saved run as the bytes of one file."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from maskviz.core.arrays import AnyArray
from maskviz.core.errors import CannotTraceError, NotFoundError
from maskviz.core.machine import as_size, free_bytes
from maskviz.core.run.long import LongTrace
from maskviz.core.writing import parameter, printable
from maskviz.store.checks import check_arrays, check_metadata, check_values
from maskviz.store.container import Container, DamagedError, opened
from maskviz.store.contents import Meta
from maskviz.store.long import KIND, long_from_parts, long_to_parts, means_to_json
from maskviz.store.readable import finite
from maskviz.store.saved import Arrays, Saved, from_parts, to_parts
from maskviz.store.schema import MisfitError
from maskviz.store.versions import as_written_today

# What the metadata may unpack to: four bytes a character, tokens and rules of a batch of millions of tokens.
LARGEST_METADATA = 2**28


def npz_bytes(saved: Saved | LongTrace) -> bytes:
    """A run as a compressed .npz, the same bytes for the same run."""
    meta, arrays = long_to_parts(saved) if isinstance(saved, LongTrace) else to_parts(saved)
    written = np.array(json.dumps(finite(meta), ensure_ascii=False, allow_nan=False))
    if written.nbytes > LARGEST_METADATA:
        raise CannotTraceError(
            "the tokens and rules of this run are too many for a file", f"cut the text: {parameter('max_length')}"
        )
    buffer = io.BytesIO()
    named: dict[str, Any] = {"meta": written, **arrays}
    np.savez_compressed(buffer, **named)
    return buffer.getvalue()


def json_bytes(saved: Saved | LongTrace) -> bytes:
    """A run as JSON: the metadata of the .npz, and its arrays as nested lists under "arrays".

    Of a long run, numbers have four digits, and of the statistics of every query the means are left.
    """
    if isinstance(saved, LongTrace):
        return _long_json(saved)
    meta, arrays = to_parts(saved)
    meta["arrays"] = {name: _listed(array) for name, array in arrays.items()}
    return (json.dumps(finite(meta), ensure_ascii=False, allow_nan=False) + "\n").encode()


def _long_json(trace: LongTrace) -> bytes:
    meta, arrays = long_to_parts(trace)
    for entry, means in zip(meta["calls"], means_to_json(trace), strict=True):
        entry["means"] = means
    lists = [f"{json.dumps(name)}:{_compact(array)}" for name, array in arrays.items() if ".statistic." not in name]
    head = json.dumps(finite(meta), ensure_ascii=False, allow_nan=False)
    return f'{head[:-1]}, "arrays": {{{",".join(lists)}}}}}\n'.encode()


def _compact(array: AnyArray) -> str:
    """Nested lists as text without spaces; float32 at four digits, null where it is no number."""
    if array.ndim > 1:
        return f"[{','.join(map(_compact, array))}]"
    if array.dtype == np.float32:
        numbers = ("null" if value != value else f"{value:.4g}" for value in array.tolist())
        return f"[{','.join(numbers)}]"
    return json.dumps(array.tolist(), separators=(",", ":"))


def read_npz(path: Path) -> Saved:
    """Read a run that is no long one; else as `read_run`."""
    saved = read_run(path)
    if isinstance(saved, LongTrace):
        raise NotFoundError(f"{str(path)!r} is a run over a long text", "'maskviz view' draws it")
    return saved


def read_run(path: Path) -> Saved | LongTrace:
    """Read a run that `npz_bytes` wrote, of this version or an earlier one. Nothing in the file is executed.

    Raises:
        NotFoundError: the file is missing, damaged, no saved run, or larger than the memory that is free.
    """
    hint = "give an .npz written by 'maskviz show -o run.npz'"
    if path.exists() and not path.is_file():
        raise NotFoundError(f"{str(path)!r} is no file", hint)
    if not path.is_file():
        raise NotFoundError(f"file {str(path)!r} does not exist", hint)
    try:
        with path.open("rb") as file, opened(file) as container:
            if "meta" not in container.headers:
                raise NotFoundError(f"{str(path)!r} is no saved maskviz run", hint)
            meta, arrays = _unpacked(container)
    except OSError as error:
        raise NotFoundError(f"{str(path)!r} cannot be read: {error.strerror}", hint) from error
    except DamagedError as error:
        raise NotFoundError(f"{str(path)!r} is damaged or no .npz: {error}", hint) from error
    except MisfitError as error:
        raise NotFoundError(f"{str(path)!r} is no run that maskviz can read: {error}", hint) from error
    return long_from_parts(meta, arrays) if meta["kind"] == KIND else from_parts(meta, arrays)


def _unpacked(container: Container) -> tuple[Meta, Arrays]:
    """The metadata and the arrays of a run, each checked before the next is unpacked.

    Raises:
        DamagedError, MisfitError: the file is not what `contents` says, or too large.
    """
    headers = {name: header for name, header in container.headers.items() if name != "meta"}
    written = container.headers["meta"]
    text = written.dtype.kind == "U" and written.dtype.isnative and written.shape == ()
    if not text or not 0 < written.size <= LARGEST_METADATA:
        raise MisfitError(f"it is no text of at most {as_size(LARGEST_METADATA)}", "meta")
    meta = as_written_today(_json_in(container.read("meta")))
    check_metadata(meta)
    check_arrays(meta, headers)
    size, free = sum(header.size for header in headers.values()), free_bytes()
    if free is not None and size > free:
        raise MisfitError(f"it unpacks to {as_size(size)}, and {as_size(free)} of memory are free")
    arrays = {name: container.read(name) for name in headers}
    check_values(meta, arrays)
    return shown(meta), arrays


def _json_in(written: AnyArray) -> Any:
    if written.reshape(1).view(np.uint32).max() > sys.maxunicode:  # numpy makes strings of them that crash Python
        raise MisfitError("it has characters that there are not", "meta")
    try:
        return json.loads(str(written))
    except RecursionError:
        raise MisfitError("it is nested too deeply", "meta") from None
    except ValueError as error:  # also numbers of thousands of digits
        raise MisfitError(f"it is no JSON: {error}", "meta") from error


def shown(meta: Any) -> Any:
    """Metadata with every string in it fit to be shown, but the texts and the model's name, which are kept as given."""
    match meta:
        case str():
            return meta if meta.isprintable() else printable(meta)
        case list():
            return list(map(shown, meta))
        case dict():
            return {name: one if name in ("texts", "name") else shown(one) for name, one in meta.items()}
    return meta


def _listed(array: AnyArray) -> Any:
    """Nested lists; float32 at the nine digits that name it exactly."""
    if array.dtype == np.float32:
        return np.array([float(f"{value:.9g}") for value in array.ravel().tolist()]).reshape(array.shape).tolist()
    return array.astype(np.int64).tolist() if array.dtype == np.uint8 else array.tolist()
