"""Several processes on one command: one speaks, whoever fails is heard once, and nobody waits for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskviz.core.errors import CannotTraceError, ExitCode, MaskvizError, UsageError
from maskviz.core.words import Parallel
from maskviz.load.models.card import card_of
from maskviz.load.models.model import quiet
from maskviz.load.models.parallel import spreading
from maskviz.store.archive import read_npz
from tests.ablate.processes import environment, free_port, run_all
from tests.architectures import tiny
from tests.conftest import Response

pytestmark = pytest.mark.slow("starts several processes that import torch anew")

_IDS = ("--ids", "5 7 9 11")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny Llama: 4 heads, 2 key heads."""
    quiet()
    folder = tmp_path_factory.mktemp("models") / "llama"
    tiny("llama").save_pretrained(folder)
    return str(folder)


def test_torchrun_shows_a_model_dealt_out_as_one_process_shows_it(
    llama: str, maskviz: Callable[..., Response], tmp_path: Path
) -> None:
    dealt_out, whole = tmp_path / "tp.npz", tmp_path / "one.npz"
    asked = ["show", "-m", llama, *_IDS, "--head-mask", "0:3", "-o"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    done = subprocess.run(
        [*torchrun, "-m", "maskviz", *asked, str(dealt_out), "--parallel", "tp"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("wrote") == 1
    maskviz(*asked, str(whole))
    for one, other in zip(read_npz(dealt_out).trace.calls, read_npz(whole).trace.calls, strict=True):
        assert (one.heads, one.key_heads, str(one.mask.rule)) == (4, 2, str(other.mask.rule))
        assert one.pattern is not None and other.pattern is not None
        np.testing.assert_allclose(one.pattern, other.pattern, atol=1e-6)


@pytest.mark.parametrize("spread", [(), ("--parallel", "tp")], ids=["texts split", "model dealt out"])
@pytest.mark.parametrize(
    "command", [("importance",), ("prune", "--step", "0.25", "--random", "1", "--keep", "0.5", "--save")]
)
def test_two_processes_rank_and_remove_heads_as_one_does(
    command: tuple[str, ...], spread: tuple[str, ...], llama: str, maskviz: Callable[..., Response], tmp_path: Path
) -> None:
    def asked(name: str) -> list[str]:
        saved = [str(tmp_path / f"{name}.mask.json")] if "--save" in command else []
        texts = ["--ids", "5 7 9 11", "--ids", "12 6 4", "--ids", "8 9 3 3 5"]
        return [*command, *saved, "-m", llama, *texts, "-o", str(tmp_path / f"{name}.json")]

    done = run_all([["-m", "maskviz", *asked("two"), *spread]] * 2)
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    assert (done[1].stdout, done[1].stderr) == ("", "")
    maskviz(*asked("one"))
    for suffix in ("json", "mask.json") if "--save" in command else ("json",):
        two, one = (json.loads((tmp_path / f"{name}.{suffix}").read_text("utf-8")) for name in ("two", "one"))
        assert_same(two, one)


def assert_same(one: Any, other: Any) -> None:
    """Numbers within are the same up to rounding; what names the run itself may differ."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one.keys() - {"command", "drift", "device"}:
            assert_same(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for mine, yours in zip(one, other, strict=True):
            assert_same(mine, yours)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-6, abs=2e-6)
    else:
        assert one == other


def test_one_of_two_processes_prints_the_result(llama: str) -> None:
    command = ["-m", "maskviz", "show", "-m", llama, *_IDS, "--parallel", "tp"]
    first, second = run_all([command, command])
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "listening moved its outputs by at most" in first.stdout
    assert (second.stdout, second.stderr) == ("", "")


@pytest.mark.parametrize("missing", [0, 1])
def test_what_fails_in_one_process_is_said_by_it_and_ends_the_other(llama: str, missing: int) -> None:
    commands = [["-m", "maskviz", "show", "-m", llama, *_IDS, "--parallel", "tp"] for _ in range(2)]
    commands[missing][4] = f"{llama}/gone"
    done = run_all(commands)
    assert done[missing].returncode == ExitCode.NOT_FOUND
    assert done[missing].stderr.startswith("maskviz: error: model folder")
    assert done[1 - missing].returncode != ExitCode.SHOWN
    assert (done[1 - missing].stdout, done[1 - missing].stderr) == ("", "")


def test_what_is_wrong_in_all_processes_is_said_once(llama: str) -> None:
    command = ["-m", "maskviz", "show", "-m", llama, *_IDS, "--parallel", "tp", "--device", "cpu"]
    done = run_all([command, command])
    said = [one.stderr for one in done if one.stderr]
    assert len(said) == 1 and said[0].startswith("maskviz: error: --parallel chooses the devices")
    assert ExitCode.SHOWN not in [one.returncode for one in done]


def test_what_is_wrong_before_the_processes_are_joined_is_said_by_the_first(llama: str) -> None:
    command = ["-m", "maskviz", "show", "-m", llama, "--ids", "5 x", "--parallel", "tp"]
    first, second = run_all([command, command])
    assert (first.returncode, second.returncode) == (ExitCode.USAGE, ExitCode.USAGE)
    assert "not all of it are ids" in first.stderr
    assert (second.stdout, second.stderr) == ("", "")


def test_one_process_cannot_deal_a_model_out(llama: str, maskviz: Callable[..., Response]) -> None:
    response = maskviz("show", "-m", llama, *_IDS, "--parallel", "tp", expect=ExitCode.USAGE)
    assert "torchrun --nproc-per-node" in response.stderr


@pytest.mark.parametrize(
    ("model_type", "parallel", "world", "kind", "message"),
    [
        ("llama", Parallel.TP, 4, CannotTraceError, "2 heads of 'tiny' cannot be dealt out evenly over 4"),
        ("bert", Parallel.TP, 2, CannotTraceError, "BertForMaskedLM has no plan for tensor parallelism"),
        ("llama", Parallel.AUTO, 2, UsageError, "there are 2 processes"),
    ],
)
def test_a_model_that_cannot_be_spread_is_named(
    model_type: str,
    parallel: Parallel,
    world: int,
    kind: type[MaskvizError],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment(0, world, 1).items():
        monkeypatch.setenv(name, value)
    model = tiny(model_type)
    with pytest.raises(kind, match=message):
        spreading(parallel, model.config, card_of(model.config, "tiny", type(model).__name__))


def test_spreading_over_devices_names_the_extra_it_needs(
    llama: str, maskviz: Callable[..., Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskviz.load.models.parallel.importlib.util.find_spec", lambda name: None)
    response = maskviz("show", "-m", llama, *_IDS, "--parallel", "auto", expect=ExitCode.NOT_FOUND)
    assert "maskviz[parallel]" in response.stderr


def test_weights_that_are_not_loaded_are_not_spread(maskviz: Callable[..., Response]) -> None:
    response = maskviz("show", "text", "--no-weights", "--parallel", "auto", expect=ExitCode.USAGE)
    assert "there are none" in response.stderr
