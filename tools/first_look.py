"""The first look as somebody at a terminal has it: when the first line is there, how long nothing is said, when the
prompt is back, and how many lines the first answer takes.

    python -m tools.first_look
"""

from __future__ import annotations

import os
import pty
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

TEXT = "The animal did not cross the street because it was too tired to go on"
COMMANDS = (
    ("--help",),
    ("show", "-m", "demo:gpt", TEXT),
    ("heads", "-m", "demo:gpt", "--probe"),
    ("importance", "-m", "demo:gpt", TEXT),
)
RUNS = 3


class Watched(NamedTuple):
    """Seconds of one command at a terminal.

    Attributes:
        first: From its start to the first byte on the screen.
        silence: The longest time between two bytes.
        back: From the last byte to the end of the process.
        whole: From start to end.
    """

    first: float
    silence: float
    back: float
    whole: float


def watched(arguments: Sequence[str]) -> Watched:
    """Run a command in a pseudo-terminal of 40 lines and 80 columns, and note when it writes."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", LINES="40", COLUMNS="80")
        os.execv(sys.executable, [sys.executable, "-m", "maskviz", *arguments])
    start = time.perf_counter()
    marks = []
    while select.select([terminal], [], [], 120)[0]:
        try:
            if not os.read(terminal, 1 << 16):
                break
        except OSError:  # the other end is closed
            break
        marks.append(time.perf_counter() - start)
    os.waitpid(child, 0)
    end = time.perf_counter() - start
    gaps = [later - earlier for earlier, later in zip([0.0, *marks], marks, strict=False)]
    return Watched(marks[0], max(gaps), end - marks[-1], end)


def lines_of(*arguments: str) -> int:
    """Lines of an answer at 80 columns."""
    done = subprocess.run(
        [sys.executable, "-m", "maskviz", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    return len(done.stdout.splitlines())


def deep_model(folder: Path) -> str:
    """A Llama of 30 layers and 9 heads with random weights and the tokenizer of a demo model."""
    import shutil

    from transformers import LlamaConfig, LlamaForCausalLM

    from maskviz.demo import folder as demo_folder

    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=72,
        intermediate_size=80,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(demo_folder("gpt") / name, folder)
    return str(folder)


def main() -> None:
    """Print both tables."""
    print("at a terminal, seconds, medians of", RUNS)
    print(f"{'command':<12} {'first byte':>10} {'longest silence':>16} {'prompt back':>12} {'whole':>7}")
    for arguments in COMMANDS:
        found = [watched(arguments) for _ in range(RUNS)]
        first, silence, back, whole = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{arguments[0]:<12} {first:>10.3f} {silence:>16.2f} {back:>12.3f} {whole:>7.2f}")
    print("\nlines of the first answer at 80 columns (at most 60, brief 24)")
    with tempfile.TemporaryDirectory() as folder:
        for model in ("demo:bert", "demo:gpt", "demo:t5", deep_model(Path(folder))):
            name = model if model.startswith("demo:") else "30 layers x 9 heads"
            usual, brief = lines_of("show", "-m", model, TEXT), lines_of("show", "-m", model, TEXT, "--brief")
            print(f"{name:<20} {usual:>3} {brief:>3}")


if __name__ == "__main__":
    main()
