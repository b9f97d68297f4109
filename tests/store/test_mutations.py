"""Whatever a hostile hand makes of a saved run, `view`, `explain` and `diff` show it or say what is wrong with it.

`make nightly` asks 10,000 examples in place of 300 (EXAMPLES).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskviz.core.errors import ExitCode
from tests.store.mutating import RUNS, Parts, mutated

pytestmark = pytest.mark.slow("reads hundreds of files as a hostile hand would change them")

KINDS = sorted(RUNS.glob("*/*.npz"))
EXAMPLES = -(-int(os.environ.get("EXAMPLES", "300")) // len(KINDS))
SHOWN, USAGE, UNREADABLE, NOT_FITTING = (
    ExitCode.SHOWN, ExitCode.USAGE, ExitCode.NOT_FOUND, ExitCode.CANNOT_TRACE,
)  # fmt: skip


def command(chance: Random, run: str, sound: str, folder: Path) -> tuple[tuple[str, ...], set[int]]:
    """A command line that reads a run, and how it may end: 2 where a layer or cell is asked for that may not be there,
    4 where two runs are not of the same tokens."""
    ways: list[tuple[tuple[str, ...], set[int]]] = [
        (("view", run), {SHOWN, UNREADABLE}),
        (("view", run), {SHOWN, UNREADABLE}),
        (("view", run, "--layer", "0", "--head", "0"), {SHOWN, USAGE, UNREADABLE}),
        (("view", run, "--region", "0:2,0:2"), {SHOWN, USAGE, UNREADABLE}),
        (("explain", run, "--at", chance.choice(("1,0", "0,*", "*,0", "-1,-1"))), {SHOWN, USAGE, UNREADABLE}),
        (("diff", run, sound), {SHOWN, UNREADABLE, NOT_FITTING}),
    ]
    for suffix in (".html", ".json", ".npz", ".txt"):
        ways.append((("view", run, "-o", str(folder / f"again{suffix}")), {SHOWN, USAGE, UNREADABLE}))
    return chance.choice(ways)


@pytest.mark.parametrize("kind", KINDS, ids=lambda path: f"{path.parent.name}-{path.stem}")
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(chance=st.randoms(use_true_random=False))
def test_a_mutated_run_is_shown_or_refused(
    kind: Path, chance: Random, maskviz: Callable[..., Any], tmp_path: Path
) -> None:
    run = tmp_path / "run.npz"
    run.write_bytes(mutated(Parts.of(kind), chance))
    arguments, codes = command(chance, str(run), str(kind), tmp_path)
    response = maskviz(*arguments, expect=tuple(codes))
    written = response.stdout + response.stderr
    assert "\x1b" not in written
    written.encode()  # no half of a character
    if response.exit_code == UNREADABLE:
        assert response.stderr.startswith("maskviz: error: ")
        assert len(response.stderr.splitlines()) == 2


@pytest.mark.parametrize("kind", KINDS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_is_mutated_is_sound(kind: Path, maskviz: Callable[..., Any]) -> None:
    maskviz("view", str(kind))
