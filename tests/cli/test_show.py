"""The command line: what a user does, and what a user does wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from maskviz import demo
from tests.architectures import tiny
from tests.conftest import Response
from tests.stable import stable

Run = Callable[..., Response]
Golden = Callable[[str, str], None]

SENTENCE = "The animal didn't cross the street because it was too tired"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("show_default", ["show", SENTENCE]),
        ("show_batch", ["show", "The cat sat.", "A dog ran into the house because it was cold.", "--layer", "0"]),
        ("show_causal", ["show", "-m", "demo:gpt", "The cat sat on the mat", "--layer", "1", "--head", "0"]),
        ("show_pair", ["show", "--pair", "the cat", "Who sat?", "--layer", "2", "--head", "3"]),
        ("show_chinese", ["show", "-m", "demo:gpt", "你好 👩‍👩‍👧", "--layer", "0", "--head", "0"]),
        ("show_head_mask", ["show", "The cat [MASK] on the mat.", "--head-mask", "0:3,1; 2:*"]),
        ("show_t5", ["show", "-m", "demo:t5", "the cat sat", "--target", "sat cat the", "--stack", "cross"]),
        ("info", ["info", "demo:t5"]),
    ],
)
def test_the_picture_is_the_golden_one(maskviz: Run, golden: Golden, name: str, arguments: list[str]) -> None:
    golden(f"cli_{name}", stable(maskviz(*arguments).stdout))


@pytest.mark.parametrize("height", [24])
def test_the_default_answer_fits_80_columns(maskviz: Run, height: int) -> None:
    lines = maskviz("show", SENTENCE, height=height).stdout.splitlines()
    assert max(map(len, lines)) <= 80


def test_every_format_is_written_and_named(maskviz: Run, tmp_path: Path) -> None:
    names = ["f.png", "f.svg", "f.pdf", "f.txt", "f.json", "f.npz"]
    response = maskviz("show", "The cat sat.", *[part for name in names for part in ("-o", str(tmp_path / name))])
    assert response.stdout == ""
    assert [line for line in response.stderr.splitlines() if line.startswith("wrote")] == [
        f"wrote {tmp_path / name}" for name in names
    ]
    heads = {name: (tmp_path / name).read_bytes()[:8] for name in names}
    assert heads["f.png"] == b"\x89PNG\r\n\x1a\n"
    assert heads["f.svg"].startswith(b"<?xml")
    assert heads["f.pdf"].startswith(b"%PDF-")
    assert heads["f.npz"].startswith(b"PK")
    assert json.loads((tmp_path / "f.json").read_text())["model"]["name"] == "demo:bert"


SUFFIXES = (".png", ".svg", ".pdf", ".npz", ".json")


def test_figures_are_the_same_bytes_twice(maskviz: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        for suffix in SUFFIXES:
            maskviz("show", "The cat sat.", "-o", str(tmp_path / f"{name}{suffix}"), facts="the same command")
    for suffix in SUFFIXES:
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_saved_run_draws_the_same_page(maskviz: Run, tmp_path: Path) -> None:
    arguments = ["The cat [MASK].", "It ran.", "--head-mask", "0:1"]
    shown = maskviz("show", *arguments).stdout
    maskviz("show", *arguments, "-o", str(tmp_path / "run.npz"))
    assert maskviz("view", str(tmp_path / "run.npz")).stdout == shown


def test_standard_input_is_one_text(maskviz: Run) -> None:
    assert maskviz("show", "-", stdin="The cat\nsat.\n", expect=0).stdout.startswith("The cat sat.")
    assert "text 1 is empty" in maskviz("show", "-", stdin="", expect=2).stderr


def test_a_file_holds_one_text_per_line(maskviz: Run, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("The cat sat.\n\nA dog ran.\n", encoding="utf-8")
    assert "text 2" in maskviz("show", "--file", str(file), "--layer", "0").stdout
    file.write_bytes(b"caf\xe9\n")
    assert "is not UTF-8 at byte 3" in maskviz("show", "--file", str(file), expect=3).stderr


def test_ids_need_no_tokenizer(maskviz: Run) -> None:
    out = maskviz("show", "--ids", "5 17 30", "--ids", "8, 9", "--layer", "0", "--head", "0").stdout
    assert "text 2" in out


def test_head_masks_come_from_files_too(maskviz: Run, tmp_path: Path) -> None:
    gates = np.ones((4, 4))
    gates[0, 1] = 0
    np.save(tmp_path / "mask.npy", gates)
    (tmp_path / "mask.json").write_text(json.dumps(gates.tolist()))
    by_text = maskviz("show", "The cat.", "--head-mask", "0:1").stdout
    assert maskviz("show", "The cat.", "--head-mask", f"@{tmp_path / 'mask.npy'}").stdout == by_text
    assert maskviz("show", "The cat.", "--head-mask", f"@{tmp_path / 'mask.json'}").stdout == by_text


def test_a_head_mask_file_may_name_stacks(maskviz: Run, tmp_path: Path) -> None:
    gates = np.ones((2, 4))
    gates[1, 0] = 0
    path = tmp_path / "mask.json"
    path.write_text(json.dumps({"cross": gates.tolist()}))
    run = ("show", "-m", "demo:t5", "The cat sat.", "--head-mask")
    assert maskviz(*run, f"@{path}").stdout == maskviz(*run, "cross 1:0").stdout
    path.write_text(json.dumps({"crossing": gates.tolist()}))
    assert "names 'crossing'" in maskviz(*run, f"@{path}", expect=2).stderr
    path.write_text(json.dumps({"cross": [["a"]]}))
    assert "cannot be read: it holds" in maskviz(*run, f"@{path}", expect=3).stderr


PICTURE = Path(__file__).parents[2] / "samples" / "causal" / "causal.png"

ERRORS: list[tuple[list[str], int, str]] = [
    (["show"], 2, "there is no text"),
    (["show", ""], 2, "text 1 is empty"),
    (["show", "x", "-m", "demo:nothing"], 2, "there is no demo model"),
    (["show", "x", "-m", "./nowhere"], 3, "does not exist"),
    (["show", "x", "--layer", "9"], 2, "layer 9 does not exist"),
    (["show", "x", "--layer", "a"], 2, "cannot read 'a'"),
    (["show", "x", "--layer", "0", "--head", "9"], 2, "head 9 does not exist"),
    (["show", "x", "--text", "2"], 2, "text 2 does not exist"),
    (["show", "x", "--stack", "cross"], 2, "no cross attention"),
    (["show", "x", "--head-mask", "0:1; 1;2"], 2, "column 6: cannot read '1'"),
    (["show", "x", "--head-mask", "0:99"], 2, "head 99 does not exist"),
    (["show", "x", "--head-mask", "0:1; kv:0.99"], 2, "column 6: key head 99 does not exist"),
    (["show", "x", "--head-mask", "@nothing.json"], 3, "head mask file 'nothing.json' cannot be read"),
    (["show", "x", "--ids", "1"], 2, "given together"),
    (["show", "--ids", "one"], 2, "not all of it are ids"),
    (["show", "--ids", "99999999999999999999"], 2, "is not in the vocabulary"),
    (["show", "x", "--pair", "a", "--pair", "b"], 2, "there are 2 --pair and 1 texts"),
    (["show", "x", "--target", "y"], 2, "has no decoder"),
    (["show", "word " * 3000], 4, "has positions for 512"),
    (["show", "x", "-o", "/no/such/folder/f.png"], 3, "folder '/no/such/folder' does not exist"),
    (["show", "x", "-o", "f.gif"], 2, "cannot tell the format of 'f.gif'"),
    (["show", "x", "-o", "f"], 2, "cannot tell the format of 'f'"),
    (["show", "x", "-o", "a.png", "-o", "./a.png"], 2, "named twice"),
    (["show", "x", "--device", "cuda:7"], 2, "cannot be used here"),
    (["show", "x", "--dtype", "int8"], 2, "dtype 'int8' is not known"),
    (["show", "x", "--pad-to", "0"], 2, "--pad-to"),
    (["show", "x", "--pad-to", "9" * 30], 4, "lower --pad-to"),
    (["show", "x", "-m", "demo:t5", "--pad-to", "1000000000"], 4, "is more than"),
    (["show", "--packed", "a", "b"], 4, "BertForMaskedLM is an encoder"),
    (["show", "--packed", "a", "b", "-m", "demo:t5"], 4, "an encoder and a decoder"),
    (["show", "--packed", "a", "-m", "demo:gpt"], 2, "more than one text"),
    (["show", "--packed", "a", "b", "-m", "demo:gpt", "--text", "2"], 2, "--text picks a row"),
    (["show", "a", "--no-cache"], 2, "takes no use_cache"),
    (["show", "x", "--mask", "nothing.npy"], 3, "does not exist"),
    (["show", "x", "--mask", "/dev/zero"], 2, "cannot tell the format of mask"),
    (["show", "x", "--token-types", "0 1"], 2, "has 2 numbers and text 1 has 3 tokens"),
    (["show", "x", "--token-types", "0 x 1"], 2, "--token-types '0 x 1'"),
    (["show", "x", "--token-types", "0 9 1"], 4, "fails on this input"),
    (["show", "x", "-m", "demo:t5", "--token-types", "0 1"], 2, "takes no token types"),
    (["show", "x", "--image", "nothing.png"], 3, "does not exist"),
    (["show", "x", "--image", "/dev/zero"], 3, "is no file"),
    (["show", "x", "--image", __file__], 3, "is no image"),
    (["show", "x", "--image", str(PICTURE)], 4, "BertForMaskedLM reads no images"),
    (["show", "--ids", "5", "--image", str(PICTURE)], 4, "reads no images"),
    (["show", "x", "--nonsense"], 2, "--nonsense"),
    (["show", "x", "--text", "0"], 2, "--text"),
    (["show", "x", "--dpi", "1e3"], 2, "--dpi"),
    (["show", "--file", "/dev/zero"], 3, "has more than 10 MB"),
    (["show", "x", "--head-mask", "@/dev/zero"], 3, "has more than 10 MB"),
    (["view", "nothing.npz"], 3, "does not exist"),
    (["view", __file__], 3, "is damaged or no .npz"),
    (["info", "./nowhere"], 3, "does not exist"),
    (["nonsense"], 2, "nonsense"),
    (["view"], 2, "RUN is missing"),
    (["view", "/tmp"], 3, "is no file"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "said"), ERRORS, ids=[" ".join(arguments)[:40] for arguments, _, _ in ERRORS]
)
def test_an_error_is_one_line_and_one_hint_with_its_exit_code(
    maskviz: Run, arguments: list[str], code: int, said: str
) -> None:
    response = maskviz(*arguments, expect=code)
    assert response.stdout == ""
    assert said in response.stderr
    first, second = response.stderr.splitlines()
    assert first.startswith("maskviz: error: ")
    assert second.startswith("  hint: ")


def test_an_unwritable_output_is_said_before_the_model_loads(maskviz: Run) -> None:
    response = maskviz("show", "x", "-m", "./nowhere", "-o", "/no/such/folder/f.png", expect=3)
    assert "cannot write" in response.stderr


def test_our_own_bug_keeps_its_traceback(maskviz: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskviz.api.shown.show_page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        maskviz("show", "x")


HOSTILE = "a\x1b[31mred\x1b[0m [red]markup[/red] \x00 nul \u202eevil line\nbreak {curly} $math$ :smile:"


def test_hostile_text_is_shown_and_not_executed(maskviz: Run, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("f.svg", "f.txt", "f.png", "f.pdf")]
    out = maskviz("show", HOSTILE, "-m", "demo:gpt", "--layer", "0").stdout
    maskviz("show", HOSTILE, "-m", "demo:gpt", *[part for file in files for part in ("-o", str(file))])
    for text in (out, files[0].read_text("utf-8"), files[1].read_text("utf-8")):
        assert not set(text) & {"\x1b", "\x00", "\u202e"}
        assert "markup" in text


def test_a_hostile_name_is_shown_and_not_executed(maskviz: Run, tmp_path: Path) -> None:
    folder = tmp_path / "[red]\x1b[31mmodel"
    shutil.copytree(demo.folder("bert"), folder)
    out = maskviz("show", "x", "-m", str(folder), "--layer", "0").stdout
    assert "\x1b" not in out
    assert "[red]\\x1b[31mmodel" in out.replace("\n", "")
    assert "\x1b" not in maskviz("show", "x", "-m", f"{folder}\x1b[2J", expect=3).stderr


def test_left_padding_without_positions_is_measured_and_noted(maskviz: Run) -> None:
    plain = maskviz("show", "-m", "demo:gpt", "The cat.", "A dog ran into the house.", "--layer", "0").stdout
    assert "left padding shifts this model's positions" in " ".join(plain.split())
    counted = ["--layer", "0", "--position-ids", "cumsum"]
    fixed = maskviz("show", "-m", "demo:gpt", "The cat.", "A dog ran into the house.", *counted).stdout
    assert "left padding shifts" not in " ".join(fixed.split())


def test_why_packed_texts_are_not_separated_is_tried(maskviz: Run, tmp_path: Path) -> None:
    arguments = ["show", "-m", "demo:gpt", "--packed", "The cat sat.", "It ran.", "--layer", "0"]
    kept = " ".join(maskviz(*arguments).stdout.split())
    assert "attention falls on text 1" in kept
    assert "--no-cache separates the texts" in kept
    without = " ".join(maskviz(*arguments, "--no-cache").stdout.split())
    assert "Packed texts are separated" in without
    assert "causal ∧ document" in without
    tiny("gpt_oss").save_pretrained(tmp_path)
    ids = ["show", "-m", str(tmp_path), "--packed", "--ids", "5 6 7", "--ids", "8 9"]
    assert "by their positions, with a cache or without" in " ".join(maskviz(*ids).stdout.split())
    assert "with a cache or without" not in " ".join(maskviz(*ids, "--no-cache").stdout.split())


def test_a_mask_of_the_users_own_comes_from_a_file_and_is_saved_with_the_run(maskviz: Run, tmp_path: Path) -> None:
    allowed = np.tril(np.ones((6, 6), dtype=bool))
    allowed[5, 1] = False
    np.save(tmp_path / "mask.npy", allowed[None, None])
    arguments = ["show", "-m", "demo:gpt", "--ids", "5 6 7 8 9 10", "--mask", str(tmp_path / "mask.npy")]
    shown = maskviz(*arguments, "--layer", "0").stdout
    assert "layer 0: user mask" in shown
    assert "user 44.4%" in shown
    maskviz(*arguments, "-o", str(tmp_path / "run.npz"))
    assert maskviz("view", str(tmp_path / "run.npz"), "--layer", "0").stdout == shown
    after = maskviz(*arguments, "--layer", "0", "--head-mask", "0:1").stdout
    assert "user mask" in after
    np.save(tmp_path / "mask.npy", allowed[None, None].astype(np.float32))
    assert "means to block are visible" in " ".join(maskviz(*arguments, "--layer", "0").stdout.split())


def test_masks_that_are_none_are_refused_in_words(maskviz: Run, tmp_path: Path) -> None:
    for name, content, code, said in (
        ("shape.npy", np.ones((1, 1, 5, 5), bool), 2, "the mask is [1, 1, 5, 5] and the batch 1 text of 3 tokens"),
        ("int.npy", np.ones((1, 1, 3, 3), int), 2, "int64, which sdpa attention"),
        ("nan.npy", np.full((1, 1, 3, 3), np.nan, np.float32), 2, "has nan at"),
        ("objects.npy", np.array([None]), 3, "cannot be read"),
    ):
        np.save(tmp_path / name, content, allow_pickle=True)
        response = maskviz("show", "--ids", "5 6 7", "--mask", str(tmp_path / name), expect=code)
        assert said in response.stderr, name
        assert len(response.stderr.splitlines()) == 2, name


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "maskviz", *arguments],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.slow("starts processes that import torch anew")
def test_a_pipe_gets_no_escape_codes_and_force_color_does() -> None:
    plain = process("info", "demo:bert", TERM="xterm-256color")
    assert plain.returncode == 0, plain.stderr
    assert b"\x1b" not in plain.stdout
    assert b"\x1b" in process("info", "demo:bert", FORCE_COLOR="1", TERM="xterm-256color").stdout


@pytest.mark.slow("starts processes that import torch anew")
def test_columns_are_respected_and_ascii_is_ascii() -> None:
    shown = process("show", "The 猫 sat", "--layer", "0", COLUMNS="50", PYTHONIOENCODING="ascii", NO_COLOR="1")
    assert shown.returncode == 0, shown.stderr
    shown.stdout.decode("ascii")
    assert max(map(len, shown.stdout.splitlines())) <= 50


@pytest.mark.slow("starts processes that import torch anew")
def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m maskviz info demo:bert | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.slow("starts processes that import torch anew")
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("info demo:bert > /dev/full", 3, "cannot write to standard output"),
        ("check samples/broken/inverted.npy --format json > /dev/full", 3, "cannot write to standard output"),
        ("convert samples/broken/inverted.npy --to python > /dev/full", 3, "cannot write to standard output"),
        ("info demo:bert >&-", 0, ""),
        ("info demo:nothing 2>&-", 2, ""),
        ("show - <&-", 2, "text 1 is empty"),
    ],
)
def test_streams_that_are_full_or_closed_are_no_bug(command: str, code: int, said: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m maskviz {command}"], capture_output=True, check=False, text=True
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow("starts processes that import torch anew")
def test_columns_of_zero_say_nothing() -> None:
    assert b"BertForMaskedLM" in process("info", "demo:bert", COLUMNS="0").stdout


def test_head_masks_of_other_kinds_are_refused(maskviz: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "complex.npy", np.ones((4, 4), dtype=complex))
    np.save(tmp_path / "number.npy", np.array(1.0))
    assert "complex" in maskviz("show", "x", "--head-mask", f"@{tmp_path / 'complex.npy'}", expect=3).stderr
    assert "a single number" in maskviz("show", "x", "--head-mask", f"@{tmp_path / 'number.npy'}", expect=2).stderr


def test_a_model_of_numbers_that_are_none_says_so(maskviz: Run, tmp_path: Path) -> None:
    model = tiny("bert")
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    model.save_pretrained(tmp_path)
    out = " ".join(maskviz("show", "-m", str(tmp_path), "--ids", "5 6 7", "--head-mask", "0:0").stdout.split())
    assert "not a number (NaN) and cannot be compared" in out
    assert "No later attention moved" not in out


@pytest.mark.slow("starts processes that import torch anew")
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc to know how far a process has come")
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    figure = tmp_path / "figure.png"
    running = subprocess.Popen(
        [sys.executable, "-m", "maskviz", "show", "x", "-o", str(figure)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    while running.poll() is None and b"libtorch" not in Path(f"/proc/{running.pid}/maps").read_bytes():
        time.sleep(0.05)  # until the run is under way: a signal before Python has started is not ours to handle
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode in (0, 130), err.decode()
    assert b"Traceback" not in err
    left = list(tmp_path.iterdir())
    assert left == ([figure] if running.returncode == 0 else [])
