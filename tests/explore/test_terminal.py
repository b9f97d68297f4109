"""`maskviz explore` in a real pseudo-terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

import maskviz
from tests.terminal import Terminal

pytestmark = pytest.mark.slow("starts processes in a pseudo-terminal")

UP, DOWN, RIGHT, HOME, TAB, ESCAPE = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[H", "\t", "\x1b"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved what-if of two texts through an encoder-decoder."""
    texts, targets = ["the cat sat in the house", "a dog sat"], ["the cat", "the dog"]
    trace = maskviz.trace("demo:t5", texts, target=targets, head_mask="encoder 0:1")
    return trace.save(tmp_path_factory.mktemp("saved") / "run.npz")


@pytest.fixture(scope="module")
def causal_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return maskviz.trace("demo:gpt", "the cat sat in the house").save(tmp_path_factory.mktemp("saved") / "run.npz")


def test_cells_are_walked_and_explained(causal_run: Path) -> None:
    with Terminal("explore", str(causal_run)) as terminal:
        terminal.wait("stands out: ")
        terminal.press(*(UP,) * 9, HOME, until="query 0 'the' → key 0 'the': visible")
        terminal.press(DOWN, DOWN, until="query 2 'sat' → key 0 'the': visible")
        terminal.press(RIGHT, RIGHT, RIGHT, until="query 2 'sat' → key 3 'in': blocked")
        terminal.wait("future: key 3 > query 2")
        terminal.press("[", "[", "[", ",", ",", ",", ",", until=": attention")
        terminal.press("]", ".", until="head 1.1: attention")
        terminal.press("m", until="head 1.1: mask")
        terminal.press(TAB, DOWN, until="head 2.1: mask")
        terminal.press(" ", until="a saved run has no model to run again")
        terminal.press("?", until="switch the head off or on: the model runs again")
        terminal.press("?", until="")
        terminal.wait_gone("switch the head off or on")
        terminal.press("q", until="")
        assert terminal.ends() == 0


def test_texts_stacks_and_the_run_before_are_a_key_away(run: Path) -> None:
    with Terminal("explore", str(run)) as terminal:
        terminal.wait("text 1 of 2: attention")
        terminal.wait("silenced 1 head: encoder 0.1")
        terminal.press("t", until="text 2 of 2")
        terminal.press("b", until=", before;")
        terminal.press("s", until="decoder head ")
        terminal.press("s", until="cross head ")
        terminal.press("q", until="")
        assert terminal.ends() == 0


def test_a_head_that_is_switched_off_runs_the_model_again() -> None:
    with Terminal("explore", "-m", "demo:gpt", "the cat sat in the house", "--head-mask", "2:3=0.5") as terminal:
        terminal.wait("What if: scaled 2.3 to 0.5")
        assert "silenced" not in terminal.text
        terminal.press("[", "[", "[", ",", ",", ",", ",", until="head 0.0: attention")
        terminal.press(" ", until="silenced 1 head: 0.0; scaled 2.3 to 0.5")
        terminal.wait("nats per token (")
        terminal.wait("✂")
        terminal.wait("KL divergence 0.")
        terminal.press(".", " ", until="silenced 2 heads: 0.0, 0.1; scaled 2.3 to 0.5")
        terminal.press("]", until="before ")
        terminal.press("r", until="brightness: how sharply")
        terminal.wait_gone("silenced")
        terminal.press("q", until="")
        assert terminal.ends() == 0


def test_heads_of_a_module_of_ones_own_are_switched_off_too() -> None:
    sample = Path(__file__).parents[2] / "samples" / "own-module"
    given = ("--module", str(sample / "model.py") + ":build", "--inputs", str(sample / "right.npz"))
    with Terminal("explore", *given, "--labels", str(sample / "words.json")) as terminal:
        terminal.wait("text 1 of 2")
        terminal.press("[", "[", ",", ",", ",", until="head 0.0: attention")
        terminal.press(" ", until="silenced 1 head: 0.0")
        terminal.press("t", until="text 2 of 2")
        terminal.press("q", until="")
        assert terminal.ends() == 0


# What terminals answer that have graphics: Sixel among the device attributes, or OK to Kitty's question; a cell's size.
SIXEL = {b"\x1b[c": b"\x1b[?62;4;22c", b"\x1b[16t": b"\x1b[6;20;10t"}
KITTY = {b"\x1b_G": b"\x1b_Gi=1;OK\x1b\\", b"\x1b[16t": b"\x1b[6;20;10t"}
SIXEL_PICTURE, KITTY_PLACEHOLDER = b"\x1bP", "\U0010eeee".encode()


@pytest.mark.parametrize(
    ("answers", "picture"), [(SIXEL, SIXEL_PICTURE), (KITTY, KITTY_PLACEHOLDER)], ids=["Sixel", "Kitty"]
)
def test_a_head_is_drawn_by_the_graphics_the_terminal_has(
    causal_run: Path, answers: dict[bytes, bytes], picture: bytes
) -> None:
    assert any(draws(causal_run, answers, picture) for _ in range(5))


def draws(run: Path, answers: dict[bytes, bytes], picture: bytes) -> bool:
    """Whether a picture is drawn so; a terminal has a tenth of a second to answer, which a busy machine may miss."""
    with Terminal("explore", str(run), answers=answers) as terminal:
        terminal.wait("stands out: ")
        assert picture not in terminal.raw
        terminal.press("g", until="")
        if not terminal.writes(picture, 5.0):
            return False
        terminal.press("g", "m", until=": mask")
        return True


def test_a_terminal_without_graphics_gets_half_blocks(causal_run: Path) -> None:
    with Terminal("explore", str(causal_run)) as terminal:
        terminal.wait("stands out: ")
        terminal.press("g", until="▀▀▀▀▀▀▀▀")
        assert b"\x1bP" not in terminal.raw
        terminal.press(ESCAPE, until=": attention")


@pytest.mark.parametrize("size", [(12, 40), (50, 200)], ids=["small", "large"])
def test_any_size_of_terminal_will_do(causal_run: Path, size: tuple[int, int]) -> None:
    with Terminal("explore", str(causal_run), size=size) as terminal:
        terminal.wait("stands out: ")
        terminal.press("q", until="")
        assert terminal.ends() == 0


def test_a_standard_error_that_is_no_terminal_is_refused_in_a_line(causal_run: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Terminal("explore", str(causal_run), stderr=log) as terminal:
        assert terminal.ends() == 2
        assert "explore draws on standard error, and that is no terminal here: leave out 2>" in terminal.text
    assert log.read_text(encoding="utf-8").startswith(
        "maskviz: error: explore draws on standard error, and that is no terminal here\n  hint: "
    )
