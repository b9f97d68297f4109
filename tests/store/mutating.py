"""Saved runs as a hostile hand would change them: members, metadata, bytes."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from maskviz.core.arrays import AnyArray

RUNS = Path(__file__).parent / "runs"
# Values that are of the wrong kind, at an end of their kind, or right somewhere else.
VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 3, 7, 255, 9_999, 2**24, 2**31, 2**63, 10**30, -(2**63), 0.5, -0.0, 1e300, 1.7e308,
    float("nan"), float("inf"), "", "a", "0", "1:0", "encoder", "decoder", "cross", "causal", "long", "run", "padding",
    "\x1b[31mred\x1b[0m", "[bold]x[/bold]", "\ud800", "\x00", "$x_{$", "ab\ncd", "é" * 300, [], [0], [[]], [[0]],
    [[0, 1], [2]], {}, {"a": 1}, {"rule": "causal"}, {"opaque": "x"}, {"window": 3}, {"band": 2**62},
    {"chunk": 2, "start": [0]}, {"keep": [[1, 1, 0]], "queries": True}, {"document": [[0, 1]]}, {"span": [[-1]]},
    {"user_mask": "/w==", "shape": [1, 1, 1, 8]}, {"all_of": [{"rule": "causal"}, {"ahead": -3}]}, {"any_of": []},
    {"repositioned": {"rule": "itself"}, "position": [[0, 0]]},
)  # fmt: skip
DTYPES = (
    "bool",
    "uint8",
    "int8",
    "int32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "<U3",
    ">f4",
)


@dataclass(frozen=True)
class Parts:
    """A run as its metadata and its arrays."""

    meta: Any
    arrays: dict[str, AnyArray]

    @classmethod
    def of(cls, path: Path) -> Parts:
        """What is in a file."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return cls(json.loads(str(arrays.pop("meta"))), arrays)

    def packed(self, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
        """A file of them."""
        named = {"meta": np.array(json.dumps(self.meta)), **self.arrays}
        return zipped({f"{name}.npy": npy(array) for name, array in named.items()}, compression)


def npy(array: AnyArray) -> bytes:
    """The bytes of a .npy."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """The bytes of a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def mutated(parts: Parts, chance: Random) -> bytes:
    """A file of a run with one to three things changed."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        change: Callable[[Parts, Random], Parts] = chance.choice((_metadata, _metadata, _metadata, _members))
        parts = change(parts, chance)
    whole = parts.packed()
    if chance.random() < 0.8:
        return whole
    return chance.choice((_flipped, _cut, _flipped_within))(whole, chance)


def _metadata(parts: Parts, chance: Random) -> Parts:
    meta = json.loads(json.dumps(parts.meta))
    places = list(_places(meta))
    if not places:
        return parts
    holder, key = chance.choice(places)
    match chance.choice(("value", "value", "value", "near", "drop", "add", "other", "twice")):
        case "value":
            holder[key] = chance.choice(VALUES)
        case "near" if isinstance(holder[key], int | float):
            holder[key] += chance.choice((-1, 1, 2, -0.5))
        case "drop":
            del holder[key]
        case "add" if isinstance(holder, dict):
            holder[chance.choice(("kind", "silent", "head_mask", "change", "decoder", "version", "x"))] = holder[key]
        case "other":
            other, place = chance.choice(places)
            holder[key] = other.get(place) if isinstance(other, dict) else other[place]
        case "twice" if isinstance(holder, list):
            holder.insert(key, holder[key])
    try:
        return replace(parts, meta=json.loads(json.dumps(meta)))
    except ValueError:  # it holds itself
        return parts


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in JSON, as what holds it and its key there."""
    for key, one in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(one, dict | list):
            yield from _places(one)


def _members(parts: Parts, chance: Random) -> Parts:
    arrays = dict(parts.arrays)
    if not arrays:
        return parts
    name = chance.choice(sorted(arrays))
    array = arrays[name]
    match chance.choice(("drop", "rename", "other", "type", "shape", "values", "values", "values", "fill")):
        case "drop":
            del arrays[name]
        case "rename":
            arrays[chance.choice((*parts.arrays, "x", "call.009.pattern", "../x", "before.000.pattern"))] = arrays.pop(
                name
            )
        case "other":
            arrays[name] = arrays[chance.choice(sorted(arrays))]
        case "type":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                arrays[name] = array.astype(chance.choice(DTYPES))
        case "shape":
            shapes: list[AnyArray] = [
                array[:1], array[..., :1], array[:0], array[..., :-1], array.ravel(), array.T, array[None],
                np.asfortranarray(array), np.concatenate([array, array]), np.concatenate([array, array], -1),
            ]  # fmt: skip
            arrays[name] = chance.choice(shapes)
        case "fill":
            arrays[name] = np.full_like(array, chance.choice((0, 1)))
        case "values" if array.size:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = np.array(chance.choice((-1, 0, 1, 2, 200, 2**40, 0.3, 1.04, 1.06, np.nan, np.inf, -np.inf)))
                changed = array.copy()
                changed.flat[chance.randrange(array.size)] = value.astype(array.dtype)
                arrays[name] = changed
    return replace(parts, arrays=arrays)


def _flipped(whole: bytes, chance: Random) -> bytes:
    changed = bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        # What says how a zip is to be read stands at its end.
        first = 0 if chance.random() < 0.5 else max(0, len(changed) - 1500)
        changed[chance.randrange(first, len(changed))] = chance.choice((0, 1, 255, chance.randrange(256)))
    return bytes(changed)


def _cut(whole: bytes, chance: Random) -> bytes:
    place = chance.randrange(len(whole))
    return whole[:place] if chance.random() < 0.5 else whole[:place] + whole[place + chance.randint(1, 40) :]


def _flipped_within(whole: bytes, chance: Random) -> bytes:
    """Bytes of a member are changed, and packed with a checksum that fits."""
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    name = chance.choice(sorted(members))
    content = bytearray(members[name])
    for _ in range(chance.randint(1, 3)):
        last = len(content) if chance.random() < 0.5 else min(len(content), 128)
        content[chance.randrange(last)] = chance.randrange(256)
    members[name] = bytes(content[: chance.choice((len(content), len(content), chance.randrange(len(content) + 1)))])
    return zipped(members, chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
