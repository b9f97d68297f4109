"""A saved run as the bytes of one file."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from maskviz.core.arrays import AnyArray
from maskviz.core.errors import NotFoundError
from maskviz.core.long import LongTrace
from maskviz.store.long import KIND, long_from_parts, long_to_parts, means_to_json
from maskviz.store.readable import finite
from maskviz.store.saved import Saved, from_parts, to_parts


def npz_bytes(saved: Saved | LongTrace) -> bytes:
    """A run as a compressed .npz, the same bytes for the same run."""
    meta, arrays = long_to_parts(saved) if isinstance(saved, LongTrace) else to_parts(saved)
    buffer = io.BytesIO()
    named: dict[str, Any] = {"meta": np.array(json.dumps(finite(meta), ensure_ascii=False, allow_nan=False)), **arrays}
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
    """Read a run that `npz_bytes` wrote. Nothing in the file is executed.

    Raises:
        NotFoundError: the file is missing, damaged, or no saved run.
    """
    hint = "give an .npz written by 'maskviz show -o run.npz'"
    if path.exists() and not path.is_file():
        raise NotFoundError(f"{str(path)!r} is no file", hint)
    if not path.is_file():
        raise NotFoundError(f"file {str(path)!r} does not exist", hint)
    if not zipfile.is_zipfile(path):
        raise NotFoundError(f"{str(path)!r} is damaged or no .npz", hint)
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile) or "meta" not in file.files:
                raise NotFoundError(f"{str(path)!r} is no saved maskviz run", hint)
            arrays = {name: file[name] for name in file.files if name != "meta"}
            meta = json.loads(str(file["meta"]))
            return long_from_parts(meta, arrays) if meta.get("kind") == KIND else from_parts(meta, arrays)
    except NotFoundError:
        raise
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        raise NotFoundError(f"{str(path)!r} is damaged or no .npz: {_said(error)}", hint) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise NotFoundError(f"{str(path)!r} is no run that maskviz can read: {_said(error)}", hint) from error


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]!r}"
    if "allow_pickle" in str(error):
        return "it holds objects, which are not opened"
    return " ".join(str(error).split())[:160] or type(error).__name__


def _listed(array: AnyArray) -> Any:
    """Nested lists; float32 at the nine digits that name it exactly."""
    if array.dtype == np.float32:
        return np.array([float(f"{value:.9g}") for value in array.ravel().tolist()]).reshape(array.shape).tolist()
    return array.astype(np.int64).tolist() if array.dtype == np.uint8 else array.tolist()
