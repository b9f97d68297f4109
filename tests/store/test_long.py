"""Long runs to and from files, and files that were edited, cut or made by others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskviz.core.errors import NotFoundError
from maskviz.core.rules.algebra import Opaque
from maskviz.core.run.long import LongTrace
from maskviz.core.words import Stack, Statistic
from maskviz.store.archive import json_bytes, npz_bytes, read_npz, read_run
from maskviz.store.long import long_to_parts
from tests.long_traces import HEADS, LAYERS, QUERIES, TILE, dense, keep, long_trace


def back(trace: LongTrace, folder: Path) -> LongTrace:
    path = folder / "run.npz"
    path.write_bytes(npz_bytes(trace))
    found = read_run(path)
    assert isinstance(found, LongTrace)
    return found


@pytest.mark.parametrize("kept", [True, False])
def test_a_long_run_comes_back_as_it_was(kept: bool, tmp_path: Path) -> None:
    trace = long_trace() if kept else long_trace(region=None)
    again = back(trace, tmp_path)
    for name in ("card", "tile", "rows", "region", "sampled", "notes"):
        assert getattr(again, name) == getattr(trace, name)
    assert np.array_equal(again.batch.ids, trace.batch.ids)
    assert (again.batch.tokens, again.batch.roles) == (trace.batch.tokens, trace.batch.roles)
    for call, other in zip(trace.calls, again.calls, strict=True):
        for name in ("stack", "layer", "module", "heads", "key_heads", "rule", "queries", "keys", "way", "difference"):
            assert getattr(other, name) == getattr(call, name)
        for name in ("sums", "largest", "rows", "region"):
            np.testing.assert_array_equal(getattr(other, name), getattr(call, name))
        assert set(other.statistics) == set(call.statistics)
        for statistic, values in call.statistics.items():
            np.testing.assert_array_equal(other.statistics[statistic], values)


def test_the_contract_of_a_long_npz_holds(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    path.write_bytes(npz_bytes(long_trace()))
    tiles = -(-QUERIES // TILE)
    with np.load(path, allow_pickle=False) as file:
        meta = json.loads(str(file["meta"]))
        assert (meta["kind"], meta["version"], meta["tile"], meta["rows"]) == ("long", 2, 8, [3, 17])
        assert meta["calls"][1]["rule"] == "causal ∧ window(12) ∧ padding"
        assert file["keep"].dtype == np.bool_
        assert file["call.001.sums"].shape == file["call.001.largest"].shape == (2, HEADS, tiles, tiles)
        assert file["call.001.statistic.entropy"].shape == (2, HEADS, QUERIES)
        assert file["call.001.rows"].shape == (2, HEADS, 2, QUERIES)
        assert file["call.001.region"].shape == (2, HEADS, 12, 18)


def test_the_same_long_run_is_the_same_bytes() -> None:
    assert npz_bytes(long_trace()) == npz_bytes(long_trace())
    assert json_bytes(long_trace()) == json_bytes(long_trace())


def test_json_of_a_long_run_has_every_map_to_four_digits_and_the_means_of_its_statistics() -> None:
    data = json.loads(json_bytes(long_trace()), parse_constant=pytest.fail)
    for layer, call in enumerate(long_trace().calls):
        np.testing.assert_allclose(data["arrays"][f"call.{layer:03d}.sums"], call.sums, rtol=6e-4)
        assert call.region is not None
        np.testing.assert_allclose(data["arrays"][f"call.{layer:03d}.region"], call.region, rtol=6e-4)
        means = data["calls"][layer]["means"]
        for row, head in np.ndindex(2, HEADS):
            firsts = [dense(layer)[row, head, query, 0] for query in range(QUERIES) if keep()[row, query]]
            assert means["first"][row][head] == pytest.approx(np.mean(firsts), abs=1e-5)
    assert not any(".statistic." in name for name in data["arrays"])
    assert data["arrays"]["keep"] == keep().tolist()


def test_no_number_is_null_in_json() -> None:
    trace = long_trace()
    first = np.full_like(trace.calls[0].statistics[Statistic.FIRST], np.nan)
    rows = trace.calls[0].rows.copy()
    rows[1] = np.nan
    call = replace(trace.calls[0], statistics={Statistic.FIRST: first}, rows=rows)
    data = json.loads(json_bytes(replace(trace, calls=(call,))), parse_constant=pytest.fail)
    assert data["calls"][0]["means"]["first"] == [[None] * HEADS] * 2
    assert data["arrays"]["call.000.rows"][1][0][0] == [None] * QUERIES


def test_a_long_run_is_no_run_for_those_who_want_every_cell(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    path.write_bytes(npz_bytes(long_trace()))
    with pytest.raises(NotFoundError, match="run over a long text"):
        read_npz(path)


EDITS: list[tuple[str, Any]] = [
    ("kind", "other"),
    ("version", 3),
    ("tile", 0),
    ("tile", 16),
    ("tile", "8"),
    ("rows", [3]),
    ("rows", [3, 40]),
    ("rows", [3, -1]),
    ("region", None),
    ("region", {"first_query": 0}),
    ("region", {"first_query": 10, "last_query": 22, "first_key": 30, "last_key": 48}),
    ("sampled", -1),
    ("notes", 5),
    ("notes", [5]),
    ("model.name", 5),
    ("calls", []),
    ("calls.0.rule_parts", {"keep": [1, 2, 3], "queries": False}),
    ("calls.0.rule_parts", {"window": -3}),
    ("calls.0.rule_parts", {"document": [1]}),
    ("calls.0.layer", -5),
    ("calls.0.layer", 10**12),
    ("calls.0.stack", "cross"),
    ("calls.0.heads", 0),
    ("calls.0.key_heads", 0),
    ("calls.0.queries", 39),
    ("calls.0.keys", 400),
    ("calls.0.way", "magic"),
    ("calls.0.difference", "small"),
]


def written(meta: dict[str, Any], arrays: dict[str, Any], path: Path) -> Path:
    named: dict[str, Any] = {"meta": np.array(json.dumps(meta)), **arrays}
    np.savez(path, **named)
    return path


@pytest.mark.parametrize(("path", "value"), EDITS, ids=[f"{path}={value}"[:40] for path, value in EDITS])
def test_an_edited_long_run_is_said_and_not_drawn(path: str, value: object, tmp_path: Path) -> None:
    meta, arrays = long_to_parts(long_trace())
    *parents, last = path.split(".")
    place: Any = json.loads(json.dumps(meta))
    edited = place
    for name in parents:
        place = place[int(name) if name.isdigit() else name]
    place[last] = value
    with pytest.raises(NotFoundError, match="can read"):
        read_run(written(edited, arrays, tmp_path / "run.npz"))


@pytest.mark.parametrize("name", ["sums", "largest", "rows", "region", "statistic.first", "statistic.entropy"])
@pytest.mark.parametrize("worth", [-0.5, 70.0, np.inf])
def test_long_attention_that_is_no_share_is_said(name: str, worth: float, tmp_path: Path) -> None:
    meta, arrays = long_to_parts(long_trace())
    array = arrays[f"call.001.{name}"].copy()
    array[0, 1, 1] = worth
    with pytest.raises(NotFoundError, match="not between"):
        read_run(written(meta, {**arrays, f"call.001.{name}": array}, tmp_path / "run.npz"))


@pytest.mark.parametrize("name", ["sums", "rows", "region", "statistic.first"])
def test_long_arrays_that_are_cut_are_said(name: str, tmp_path: Path) -> None:
    meta, arrays = long_to_parts(long_trace())
    cut = {**arrays, f"call.000.{name}": arrays[f"call.000.{name}"][:, :, :1]}
    with pytest.raises(NotFoundError, match="can read"):
        read_run(written(meta, cut, tmp_path / "run.npz"))
    if name in ("sums", "rows"):
        cut.pop(f"call.000.{name}")
        with pytest.raises(NotFoundError, match="can read"):
            read_run(written(meta, cut, tmp_path / "run.npz"))


def test_a_rule_that_could_not_be_read_and_a_stack_come_back(tmp_path: Path) -> None:
    trace = long_trace()
    calls = tuple(replace(call, rule=Opaque("own"), stack=Stack.ENCODER) for call in trace.calls)
    again = back(replace(trace, calls=calls), tmp_path)
    assert [call.rule for call in again.calls] == [Opaque("own")] * LAYERS
    assert again.stacks == (Stack.ENCODER,)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_long_file_is_never_a_crash(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = bytearray(_WHOLE)
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "run.npz"
    path.write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    try:
        read_run(path)
    except NotFoundError as error:
        assert str(path) in error.message


_WHOLE = npz_bytes(long_trace())
