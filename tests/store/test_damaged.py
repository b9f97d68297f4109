"""Files that look like a run and are none: each is refused with what is wrong with it, before it is unpacked."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskviz.core.errors import ExitCode, NotFoundError
from maskviz.store import archive
from maskviz.store.archive import read_run
from maskviz.store.container import Container
from tests.store.mutating import RUNS, Parts, npy, zipped

V1 = RUNS / "version-1"


def refused(content: bytes, folder: Path) -> str:
    """What is said of a file that is refused."""
    path = folder / "run.npz"
    path.write_bytes(content)
    with pytest.raises(NotFoundError) as caught:
        read_run(path)
    assert caught.value.exit_code is ExitCode.NOT_FOUND
    return caught.value.message


def members_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def edited(name: str, place: str, value: object) -> bytes:
    """A run with one thing in its metadata changed."""
    parts = Parts.of(V1 / f"{name}.npz")
    *outer, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    held: Any = parts.meta
    for step in outer:
        held = held[step]
    held[last] = value
    return parts.packed()


def test_attention_of_the_plain_run_that_is_missing_is_said(tmp_path: Path) -> None:
    parts = Parts.of(V1 / "what-if.npz")
    del parts.arrays["before.001.pattern"]
    assert "calls[1]: of the runs before and after only one has its attention" in refused(parts.packed(), tmp_path)


EDITS: list[tuple[str, str, object, str]] = [
    ("what-if", "change.places.0.candidates.4.index", -1, "-1 is no whole number from 0"),
    ("what-if", "change.places.0.row", 1, "there is no text 1"),
    ("what-if", "change.places.0.position", 10, "there is no token 10"),
    ("what-if", "change.places.0.candidates.0.before", 1.5, "a probability is not between 0 and 1"),
    ("what-if", "change.labels", ["one"], "a class has no label"),
    ("what-if", "change.moved", [[0.0]], "it has not one number for each head"),
    ("what-if", "change.losses.0.before", float("nan"), "nan is no number"),
    ("what-if", "names", {"-1": "x"}, "'-1' is not of the form"),
    ("what-if", "head_mask", {"decoder": [[0, 1], [1]]}, "rows are not of one length"),
    ("what-if", "head_mask", {"middle": [[1]]}, "'middle' is none of encoder, decoder, cross"),
    ("batch", "model.key_heads", [], "it has heads without key heads"),
    ("batch", "model.key_heads", [0], "0 is no whole number from 1"),
    ("batch", "calls.0.heads", 5, "its shape is [2, 4, 6, 6], not [2, 5"),
    ("batch", "calls.0.heads", True, "True is no whole number"),
    ("batch", "calls.0.layer", 10**30, "a number of many digits is no whole number"),
    ("batch", "calls.1.mask_of", 2, "call 2 holds no mask"),
    ("batch", "calls.0.stack", "cross", "it has cross attention and no decoder"),
    ("batch", "calls.0.stack", "Encoder", "'Encoder' is none of encoder, decoder, cross"),
    ("batch", "calls.0.rule_parts", {"all_of": [{"chunk": 2, "start": [0]}]}, "calls[0].rule_parts.all_of[0].start"),
    ("batch", "calls.0.rule_parts", {"chunk": 0, "start": [0, 0]}, "0 is no whole number from 1"),
    ("batch", "calls.0.rule_parts", {"user_mask": "AA==", "shape": [1, 1, 9, 9]}, "1 bytes are not the bits of"),
    ("batch", "calls.0.rule_parts", {"user_mask": "AA==", "shape": [1, 3, 1, 1]}, "3 is none of 1, 4"),
    ("batch", "calls.0.rule_parts", {"window": 3, "band": 3}, "an object of 2 is none of"),
    ("batch", "batch.tokens.0.0", 5, "batch.tokens[0][0]: 5 is no text"),
    ("batch", "batch.roles", [["text"] * 7], "it has not one entry for each token"),
    ("batch", "drift", 1e400, "inf is no number"),
    ("batch", "anything", 1, "nothing is called 'anything' here"),
    ("encoder-decoder", "batch.decoder", {}, "batch.decoder: it has no 'tokens'"),
    ("long", "calls.0.queries", 2**24, "its queries and keys are not the tokens"),
    ("long", "tile", 0, "0 is no whole number from 1"),
    ("long", "rows", [10_000], "a row is behind the last query"),
    ("long", "region.last_key", 10_000, "it is not inside the text"),
]


@pytest.mark.parametrize(("name", "place", "value", "said"), EDITS, ids=[f"{e[0]}-{e[1]}={e[2]}"[:60] for e in EDITS])
def test_metadata_outside_the_schema_is_said(name: str, place: str, value: object, said: str, tmp_path: Path) -> None:
    assert said in refused(edited(name, place, value), tmp_path)


ARRAYS: list[tuple[str, object, str]] = [
    ("ids", np.full((2, 6), -2), "ids: its values are not between -1 and"),
    ("ids", np.zeros((2, 6), np.int32), "ids: it is int32, not int64"),
    ("keep", np.ones((2, 7), bool), "keep: its shape is [2, 7], not [2, 6]"),
    ("keep", np.full((2, 6), 2, np.uint8).view(bool), "keep: its values are not between 0 and 1"),
    ("call.000.pattern", np.zeros((2, 4, 6, 5), np.float32), "its shape is [2, 4, 6, 5], not [2, 4, 6, 6]"),
    ("call.000.reasons", np.ones((2, 1, 6, 6), np.uint8), "blocked without one"),
    ("call.009.pattern", np.zeros((2, 4, 6, 6), np.float32), "no array of this run is called 'call.009.pattern'"),
    ("call.000.visible", None, "call.000.visible: it is missing"),
    ("ids", None, "ids: it is missing"),
]


@pytest.mark.parametrize(("name", "array", "said"), ARRAYS, ids=[f"{one[0]}-{one[2][-24:]}" for one in ARRAYS])
def test_arrays_outside_the_schema_are_said(name: str, array: Any, said: str, tmp_path: Path) -> None:
    parts = Parts.of(V1 / "batch.npz")
    if array is None:
        del parts.arrays[name]
    else:
        parts.arrays[name] = array
    assert said in refused(parts.packed(), tmp_path)


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [(6, 77, "zip file version 7.7"), (10, 99, "packed in a way"), (8, 1, "encrypted"), (24, 255, "has not the")],
)
def test_a_byte_of_the_directory_is_said(offset: int, value: int, said: str, tmp_path: Path) -> None:
    whole = bytearray((V1 / "batch.npz").read_bytes())
    whole[whole.rindex(b"PK\x01\x02") + offset] = value  # the last entry of the zip's central directory
    assert said in refused(bytes(whole), tmp_path)


HEADERS = [
    (b"{'descr': '|O', 'fortran_order': False, 'shape': (), }", "holds objects"),
    (b"{'descr': '<i8', 'fortran_order': False, 'shape': (-1, 6), }", "has not the"),
    (b"{'descr': '<i8', 'fortran_order': False, 'shape': (2L, 6L), }", "Python 2"),
    (b"{'descr': '<i8', 'fortran_order': False, 'shape': (2, 99999999999999), }", "has not the"),
    (b"{'descr': '<i8', 'fortran_order': False, 'shape': ((((", "damaged"),
    (b"[" * 4000, "damaged"),
]


@pytest.mark.parametrize(("header", "said"), HEADERS, ids=[str(place) for place in range(len(HEADERS))])
def test_a_header_that_numpy_does_not_write_is_said(header: bytes, said: str, tmp_path: Path) -> None:
    members = members_of((V1 / "batch.npz").read_bytes())
    padded = header + b"\n"
    members["ids.npy"] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + bytes(2 * 6 * 8)
    assert said in refused(zipped(members), tmp_path)


def test_names_that_are_no_arrays_or_occur_twice_are_said(tmp_path: Path) -> None:
    members = members_of((V1 / "batch.npz").read_bytes())
    assert "'readme.txt'" in refused(zipped({**members, "readme.txt": b"x"}), tmp_path)
    with pytest.warns(UserWarning, match="Duplicate name"):
        buffer = io.BytesIO(zipped(members))
        with zipfile.ZipFile(buffer, "a") as file:
            file.writestr("ids.npy", members["ids.npy"])
    assert "'ids.npy', which is no array of its own" in refused(buffer.getvalue(), tmp_path)


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the arrays that were unpacked."""
    names: list[str] = []
    plain = Container.read

    def read(self: Container, name: str) -> Any:
        names.append(name)
        return plain(self, name)

    monkeypatch.setattr(Container, "read", read)
    return names


def test_arrays_that_do_not_fit_the_metadata_are_refused_packed(unpacked: list[str], tmp_path: Path) -> None:
    parts = Parts.of(V1 / "batch.npz")
    parts.arrays["call.000.pattern"] = np.zeros((2, 4, 2000, 2000), np.float32)
    assert "its shape is [2, 4, 2000, 2000], not [2, 4, 6, 6]" in refused(parts.packed(), tmp_path)
    assert unpacked == ["meta"]


def test_a_run_larger_than_free_memory_is_refused_packed(
    unpacked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "free_bytes", lambda: 1000)
    assert "kB, and 1.0 kB of memory are free" in refused((V1 / "batch.npz").read_bytes(), tmp_path)
    assert unpacked == ["meta"]


def test_metadata_that_would_fill_the_memory_is_refused_packed(
    unpacked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LARGEST_METADATA", 4_000_000)
    members = {**members_of((V1 / "batch.npz").read_bytes()), "meta.npy": npy(np.array("[" + " " * 2_000_000))}
    content = zipped(members)
    assert len(content) < 100_000
    assert "meta: it is no text of at most" in refused(content, tmp_path)
    assert unpacked == []


def test_a_directory_that_says_less_than_there_is_is_no_way_around(tmp_path: Path) -> None:
    members = members_of((V1 / "batch.npz").read_bytes())
    members["ids.npy"] += bytes(5_000_000)
    whole = bytearray(zipped(members))
    place = whole.index(b"ids.npy", whole.index(b"PK\x01\x02")) - 46
    whole[place + 24 : place + 28] = struct.pack("<I", len(members["ids.npy"]) - 5_000_000)
    assert "damaged" in refused(bytes(whole), tmp_path)


def test_metadata_that_python_cannot_hold_is_said(tmp_path: Path) -> None:
    members = members_of((V1 / "batch.npz").read_bytes())
    for text in ("9" * 5000, "[" * 100_000, "{", "nul"):
        assert "meta: " in refused(zipped({**members, "meta.npy": npy(np.array(text))}), tmp_path)
    text = str(np.load(V1 / "batch.npz")["meta"])
    for place in (1, text.index("cat"), len(text) - 2):
        for number in (0x110000, 0x7FFFFFFF, 0xFFFFFFFF):
            points = np.array(text).reshape(1).view(np.uint32).copy()
            points[place] = number
            said = refused(zipped({**members, "meta.npy": npy(points.view(f"<U{len(text)}").reshape(()))}), tmp_path)
            assert "meta: it has characters that there are not" in said


def test_metadata_that_is_no_text_is_said(tmp_path: Path) -> None:
    members = members_of((V1 / "batch.npz").read_bytes())
    for array in (np.array("{}", ">U2"), np.array(["{}"]), np.array(b"{}"), np.array(1)):
        assert "meta: it is no text of at most" in refused(zipped({**members, "meta.npy": npy(array)}), tmp_path)


def test_words_of_a_file_give_the_terminal_no_orders(tmp_path: Path, maskviz: Callable[..., Any]) -> None:
    parts = Parts.of(V1 / "what-if.npz")
    order = "\x1b]0;owned\x07\x1b[2J"
    parts.meta["notes"] = [order]
    parts.meta["model"].update(architecture=order, note=order, device=order, name=order)
    parts.meta["batch"]["tokens"][0][0] = order
    parts.meta["batch"]["texts"] = [order]
    parts.meta["names"] = dict.fromkeys(parts.meta["names"], order)
    parts.meta["calls"][0]["rule_parts"] = {"opaque": order}
    path = tmp_path / "run.npz"
    path.write_bytes(parts.packed())
    for arguments in (("view", str(path)), ("explain", str(path), "--at", "1,0"), ("diff", str(path), str(path))):
        assert "\x1b" not in maskviz(*arguments).stdout


def test_numbers_that_are_none_come_back_as_none(tmp_path: Path, maskviz: Callable[..., Any]) -> None:
    path = tmp_path / "run.npz"
    path.write_bytes(edited("what-if", "change.places.0.candidates.0.after", None))
    assert "nan%" in maskviz("view", str(path)).stdout
