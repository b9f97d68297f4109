"""Runs that earlier versions saved open, and hold what they held.

`runs/first-day` was written by the first program that saved runs (3e1ada9), `runs/version-1` by the first edition.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskviz.core.errors import NotFoundError
from maskviz.core.run.long import LongTrace
from maskviz.store.archive import npz_bytes, read_run
from maskviz.store.contents import VERSION
from maskviz.store.rules import rule_from_json
from maskviz.store.versions import READERS
from tests.store.mutating import RUNS, Parts

FILES = sorted(RUNS.glob("*/*.npz"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_run_of_an_earlier_version_holds_what_it_held(path: Path) -> None:
    parts, run = Parts.of(path), read_run(path)
    assert parts.meta["version"] < VERSION
    assert [list(row) for row in (run.trace if not isinstance(run, LongTrace) else run).batch.tokens] == (
        parts.meta["batch"]["tokens"]
    )
    if isinstance(run, LongTrace):
        for number, (call, entry) in enumerate(zip(run.calls, parts.meta["calls"], strict=True)):
            assert call.rule == rule_from_json(entry["rule_parts"])
            assert np.array_equal(call.sums, parts.arrays[f"call.{number:03d}.sums"])
        return
    for number, (one, entry) in enumerate(zip(run.trace.calls, parts.meta["calls"], strict=True)):
        assert (one.stack, one.layer, one.heads, one.key_heads) == tuple(
            entry[name] for name in ("stack", "layer", "heads", "key_heads")
        )
        assert str(one.mask.rule) == entry["rule"]
        assert np.array_equal(one.mask.visible, parts.arrays[f"call.{entry['mask_of']:03d}.visible"])
        pattern = parts.arrays.get(f"call.{number:03d}.pattern")
        assert (one.pattern is None) == (pattern is None)
        assert pattern is None or np.array_equal(one.pattern, pattern)  # type: ignore[arg-type]
    assert (run.before is not None) == ("before" in parts.meta)
    assert len(run.trace.silent) == len(parts.meta.get("silent", ()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_it_is_drawn_as_when_it_is_saved_anew(path: Path, tmp_path: Path, maskviz: Callable[..., Any]) -> None:
    anew = tmp_path / "run.npz"
    anew.write_bytes(npz_bytes(read_run(path)))
    assert Parts.of(anew).meta["version"] == VERSION
    assert maskviz("view", str(path)).stdout == maskviz("view", str(anew)).stdout
    assert npz_bytes(read_run(anew)) == anew.read_bytes()


def test_every_earlier_version_has_a_reader_and_a_file() -> None:
    assert list(READERS) == list(range(1, VERSION))
    assert {Parts.of(path).meta["version"] for path in FILES} == set(READERS)


@pytest.mark.parametrize("version", [VERSION + 1, 0, -1, "1", None, True, 1.0, [1]])
def test_a_version_that_nobody_wrote_is_said(version: object, tmp_path: Path) -> None:
    parts = Parts.of(FILES[0])
    parts.meta["version"] = version
    path = tmp_path / "run.npz"
    path.write_bytes(parts.packed())
    with pytest.raises(NotFoundError, match=r"version .* this maskviz reads 1, 2"):
        read_run(path)


def test_an_earlier_version_cannot_carry_what_it_did_not_have(tmp_path: Path) -> None:
    parts = Parts.of(RUNS / "version-1" / "batch.npz")
    parts.meta["later"] = 1
    path = tmp_path / "run.npz"
    path.write_bytes(parts.packed())
    with pytest.raises(NotFoundError, match="nothing is called 'later'"):
        read_run(path)
