"""The .npz contract, the way back, and files that are damaged or not ours."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskviz.analyse.comparison import compare
from maskviz.core.arrays import Content
from maskviz.core.errors import ExitCode, NotFoundError
from maskviz.core.rules.algebra import Everything, Opaque, Rule, all_of, any_of
from maskviz.core.rules.kinds import (
    Band,
    BlockCausal,
    BlockDiffusion,
    Causal,
    Chunk,
    Document,
    Itself,
    Padding,
    Prefix,
    Repositioned,
    Span,
    UserMask,
    Window,
)
from maskviz.core.run.heads import parse_head_mask
from maskviz.core.run.trace import Trace
from maskviz.load.texts.encode import Request, encode
from maskviz.store.archive import json_bytes, npz_bytes, read_npz
from maskviz.store.files import check_writable, write_whole
from maskviz.store.rules import rule_from_json, rule_to_json
from maskviz.store.saved import Saved, to_parts
from maskviz.tracing.run import head_shapes, run, run_gated
from tests.tracing.conftest import Example, example_of, loaded_tiny, random_rows


def what_if(example: Example) -> Saved:
    mask = parse_head_mask("0:1", head_shapes(example.trace))
    after = run_gated(example.model, example.encoded.inputs, example.trace, mask)
    return Saved(after, example.trace, compare(example.trace, after), {3: "three"})


def back(saved: Saved, folder: Path) -> Saved:
    path = folder / "run.npz"
    path.write_bytes(npz_bytes(saved))
    return read_npz(path)


def assert_same(one: Trace, other: Trace) -> None:
    assert one.card == other.card
    assert one.notes == other.notes
    assert (one.drift, one.plain_attention) == (other.drift, other.plain_attention)
    assert np.array_equal(one.batch.ids, other.batch.ids)
    assert one.batch.tokens == other.batch.tokens
    assert one.batch.roles == other.batch.roles
    assert [call.mask.rule for call in one.calls] == [call.mask.rule for call in other.calls]
    for call, again in zip(one.calls, other.calls, strict=True):
        assert (call.stack, call.layer, call.module, call.heads) == (
            again.stack,
            again.layer,
            again.module,
            again.heads,
        )
        assert np.array_equal(call.mask.visible, again.mask.visible)
        assert np.array_equal(call.mask.reasons, again.mask.reasons)
        assert np.array_equal(call.pattern, again.pattern)  # type: ignore[arg-type]


@pytest.mark.parametrize("model_type", ["gemma3", "t5", "xlnet"])
def test_a_run_comes_back_as_it_was(model_type: str, tmp_path: Path) -> None:
    trace = example_of(model_type).trace
    assert_same(trace, back(Saved(trace), tmp_path).trace)


def test_packed_texts_come_back_with_their_documents(tmp_path: Path) -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, Request(ids=random_rows((3, 4)), packed=True, no_cache=True))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    again = back(Saved(trace), tmp_path).trace
    assert_same(trace, again)
    assert again.batch.documents is not None
    assert again.batch.documents.tolist() == [[0, 0, 0, 1, 1, 1, 1]]
    with pytest.raises(ValueError, match="documents"):
        replace(again.batch, documents=np.zeros((1, 3), np.int64))


def test_a_what_if_comes_back_with_its_plain_run(tmp_path: Path) -> None:
    saved = what_if(example_of("llama"))
    again = back(saved, tmp_path)
    assert_same(saved.trace, again.trace)
    assert saved.before is not None
    assert again.before is not None
    assert_same(saved.before, again.before)
    assert again.trace.head_mask is not None
    assert str(again.trace.head_mask) == "0:1"
    assert again.change is not None
    assert saved.change is not None
    assert again.change.places == saved.change.places
    assert again.names == {3: "three"}


def test_the_contract_of_the_npz_holds(tmp_path: Path) -> None:
    trace = example_of("t5").trace
    path = tmp_path / "run.npz"
    path.write_bytes(npz_bytes(Saved(trace)))
    with np.load(path, allow_pickle=False) as file:
        meta = json.loads(str(file["meta"]))
        assert file["ids"].dtype == np.int64
        assert file["keep"].dtype == np.bool_
        assert file["decoder.ids"].shape == (3, 6)
        assert file["decoder.keep"].shape == (3, 6)
        for index, (entry, call) in enumerate(zip(meta["calls"], trace.calls, strict=True)):
            assert set(entry) >= {"stack", "layer", "module", "heads", "key_heads", "rule", "kind", "drift", "mask_of"}
            assert entry["rule"] == str(call.mask.rule)
            holder = f"call.{entry['mask_of']:03d}"
            assert file[f"{holder}.visible"].dtype == np.bool_
            assert np.array_equal(file[f"{holder}.visible"], call.mask.visible)
            assert file[f"{holder}.reasons"].dtype == np.uint8
            assert (f"call.{index:03d}.visible" in file.files) == (entry["mask_of"] == index)
            pattern = file[f"call.{index:03d}.pattern"]
            assert pattern.dtype == np.float32
            assert np.array_equal(pattern, call.pattern)  # type: ignore[arg-type]
        assert (meta["kind"], meta["version"]) == ("run", 2)
        assert meta["model"]["architecture"] == "T5ForConditionalGeneration"
        assert meta["batch"]["tokens"] == [list(row) for row in trace.batch.tokens]


def test_the_same_run_is_the_same_bytes() -> None:
    saved = Saved(example_of("bert").trace)
    assert npz_bytes(saved) == npz_bytes(saved)
    assert json_bytes(saved) == json_bytes(saved)


def test_json_holds_the_whole_trace() -> None:
    trace = example_of("llama").trace
    data = json.loads(json_bytes(Saved(trace)))
    pattern = np.array(data["arrays"]["call.001.pattern"], dtype=np.float32)
    assert np.array_equal(pattern, trace.calls[1].pattern)  # type: ignore[arg-type]
    assert data["arrays"]["call.000.visible"][0][0][0] == trace.calls[0].mask.visible[0, 0, 0].tolist()


contents = st.lists(st.lists(st.integers(0, 1), min_size=3, max_size=3), min_size=1, max_size=2)
rules = st.recursive(
    st.one_of(
        st.sampled_from([Everything(), Causal(), Itself(), Opaque("own")]),
        st.integers(1, 9).map(Window),
        st.integers(0, 9).map(Band),
        contents.map(lambda rows: Padding(Content(rows, np.bool_), queries=len(rows) > 1)),
        contents.map(lambda rows: Document(Content(rows, np.int64))),
        contents.map(lambda rows: Span(Content(rows, np.int64))),
        contents.map(lambda rows: UserMask(Content([[rows]], np.bool_))),
        st.integers(1, 9).map(BlockCausal),
        st.builds(BlockDiffusion, st.integers(1, 9), st.integers(1, 9)),
        contents.map(lambda rows: Prefix(Content(rows[0], np.int64))),
        contents.map(lambda rows: Chunk(2, Content(rows[0], np.int64))),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: all_of(*parts)),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: any_of(*parts)),
        inner.map(lambda rule: Repositioned(rule, Content([[0, 1, 0]], np.int64))),
    ),
    max_leaves=5,
)


@given(rules)
def test_every_rule_comes_back_equal(rule: Rule) -> None:
    assert rule_from_json(json.loads(json.dumps(rule_to_json(rule)))) == rule


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 broken", b"\x93NUMPY\x01\x00broken"])
def test_a_file_that_is_no_npz_is_said(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    path.write_bytes(content)
    with pytest.raises(NotFoundError) as caught:
        read_npz(path)
    assert caught.value.exit_code is ExitCode.NOT_FOUND


@pytest.mark.parametrize("meta", ["{}", "[]", "{", '{"version": 3}', '{"version": 1}', '"text"'])
def test_metadata_that_is_not_ours_is_said(meta: str, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    np.savez(path, meta=np.array(meta))
    with pytest.raises(NotFoundError, match=r"can read|no saved"):
        read_npz(path)


def test_somebody_elses_npz_and_a_missing_file_are_said(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(NotFoundError, match="no saved maskviz run"):
        read_npz(path)
    with pytest.raises(NotFoundError, match="does not exist"):
        read_npz(tmp_path / "nothing.npz")


def test_a_pickle_inside_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, meta=np.array([{"a": print}], dtype=object))
    with pytest.raises(NotFoundError):
        read_npz(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_never_a_crash(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = bytearray(npz_bytes(Saved(example_of("bert").trace)))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "run.npz"
    path.write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    try:
        read_npz(path)
    except NotFoundError as error:
        assert str(path) in error.message


def test_arrays_that_do_not_fit_are_said(tmp_path: Path) -> None:
    raw = npz_bytes(Saved(example_of("bert").trace))
    path = tmp_path / "run.npz"
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "call.000.visible.npy":
                buffer = io.BytesIO()
                np.save(buffer, np.ones((1, 1, 2, 2), dtype=bool))
                content = buffer.getvalue()
            new.writestr(name, content)
    with pytest.raises(NotFoundError, match="can read"):
        read_npz(path)


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def full_disk(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full_disk)
        with pytest.raises(NotFoundError, match="No space left"):
            write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["figure.png"]
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


EDITS: list[tuple[str, Any]] = [
    ("calls.0.rule_parts", {"keep": [1, 2, 3], "queries": False}),
    ("calls.0.rule_parts", {"document": [1]}),
    ("calls.0.rule_parts", {"all_of": []}),
    ("calls.0.rule_parts", {"window": -3}),
    ("calls.0.layer", -5),
    ("calls.0.layer", 10**12),
    ("calls.0.stack", "cross"),
    ("calls.0.query_offset", -1),
    ("calls", []),
    ("drift", "NaN"),
    ("drift", [1]),
    ("notes", 5),
    ("model.name", 5),
    ("model.layers", ["a"]),
    ("model.parameters", "x"),
    ("model.parameters", -1),
    ("head_mask", {"decoder": [[0]]}),
]


@pytest.mark.parametrize(("path", "value"), EDITS, ids=[f"{path}={value}"[:40] for path, value in EDITS])
def test_an_edited_run_is_said_and_not_drawn(path: str, value: object, tmp_path: Path) -> None:
    meta, arrays = to_parts(Saved(example_of("llama").trace))
    *parents, last = path.split(".")
    place: Any = json.loads(json.dumps(meta))
    edited = place
    for name in parents:
        place = place[int(name) if name.isdigit() else name]
    place[last] = value
    file = tmp_path / "run.npz"
    named: dict[str, Any] = {"meta": np.array(json.dumps(edited)), **arrays}
    np.savez(file, **named)
    with pytest.raises(NotFoundError, match="can read"):
        read_npz(file)


@pytest.mark.parametrize("worth", [-0.5, 7.0, np.inf])
def test_attention_that_is_no_share_is_said(worth: float, tmp_path: Path) -> None:
    trace = example_of("llama").trace
    assert trace.calls[0].pattern is not None
    pattern = trace.calls[0].pattern.copy()
    pattern[0, 0, 0, 0] = worth
    calls = (replace(trace.calls[0], pattern=pattern), *trace.calls[1:])
    with pytest.raises(NotFoundError, match=r"not between 0 and 1\.05"):
        back(Saved(replace(trace, calls=calls)), tmp_path)


def test_links_are_written_through_and_modes_are_kept(tmp_path: Path) -> None:
    target, link = tmp_path / "target.png", tmp_path / "link.png"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o600


def test_json_knows_no_nan(tmp_path: Path) -> None:
    trace = replace(example_of("llama").trace, drift=float("nan"))
    assert json.loads(json_bytes(Saved(trace)), parse_constant=pytest.fail)["drift"] is None
    assert back(Saved(trace), tmp_path).trace.drift is None


def test_metadata_nested_without_end_is_said(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    np.savez(path, meta=np.array("[" * 100_000 + "]" * 100_000))
    with pytest.raises(NotFoundError, match="can read"):
        read_npz(path)


def test_places_that_cannot_be_written_are_said_beforehand(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(NotFoundError, match="does not exist"):
        check_writable(tmp_path / "no" / "figure.png")
    check_writable(tmp_path / "figure.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name, said in (("loop.png", "cannot write"), ("pipe.png", "no regular file"), ("a" * 300 + ".png", "too long")):
        with pytest.raises(NotFoundError, match=said):
            check_writable(tmp_path / name)
