"""`maskviz view` draws long runs, and regions of runs of either kind, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from maskviz.store.archive import npz_bytes
from tests.long_traces import long_trace


@pytest.fixture
def long_run(tmp_path: Path) -> Path:
    """A long run, saved."""
    path = tmp_path / "long.npz"
    path.write_bytes(npz_bytes(long_trace()))
    return path


def test_view_draws_a_long_run_in_every_format(maskviz: Callable[..., object], long_run: Path) -> None:
    outputs = [long_run.with_suffix(suffix) for suffix in (".png", ".svg", ".pdf", ".txt", ".json")]
    again = long_run.with_name("again.npz")
    maskviz("view", str(long_run), *[part for path in [*outputs, again] for part in ("-o", str(path))])
    assert outputs[0].read_bytes().startswith(b"\x89PNG")
    assert "share of attention, one scale for all heads, log scale" in outputs[1].read_text("utf-8")
    assert "each place is 8 × 8 cells" in outputs[3].read_text("utf-8")
    assert json.loads(outputs[4].read_text("utf-8"))["kind"] == "long"
    assert again.read_bytes() == long_run.read_bytes()


def test_view_of_a_long_run_imports_no_torch(long_run: Path) -> None:
    script = (
        "import sys; sys.argv = ['maskviz', 'view', sys.argv[1], '-o', sys.argv[2]]\n"
        "from maskviz.cli.app import run as main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    target = str(long_run.with_suffix(".png"))
    done = subprocess.run(
        [sys.executable, "-c", script, str(long_run), target], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_view_draws_a_part_of_the_region_a_long_run_kept(maskviz: Callable[..., object], long_run: Path) -> None:
    shown = maskviz("view", str(long_run), "--layer", "1", "--head", "0", "--region", "12:14,3:9")
    assert "head 1.0, queries 12-13, keys 3-8" in shown.stdout  # type: ignore[attr-defined]
    refused = maskviz("view", str(long_run), "--region", "0:4,0:4", expect=2)
    assert "region 0:4,0:4 is not within 10:22,2:20" in refused.stderr  # type: ignore[attr-defined]
    refused = maskviz("view", str(long_run), "--region", "0:41,0:4", expect=2)
    assert "queries: 0:41 goes beyond the 40 queries" in refused.stderr  # type: ignore[attr-defined]


def test_view_draws_a_region_of_a_dense_run(maskviz: Callable[..., object], saved_run: Path) -> None:
    shown = maskviz("view", str(saved_run), "--layer", "0", "--head", "1", "--region", "1:4,0:3")
    assert "head 0.1" in shown.stdout  # type: ignore[attr-defined]
    assert "queries 1-3, keys 0-2" in shown.stdout  # type: ignore[attr-defined]
