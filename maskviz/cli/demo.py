"""`maskviz demo`: six pictures on the models that come with the package, each with its command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from maskviz.cli.env import Env
from maskviz.core.errors import NotFoundError

_SENTENCE = "The cat sat on the mat because the cat was tired"


@dataclass(frozen=True, slots=True)
class Stop:
    """One picture of the tour.

    Attributes:
        name: Of its file.
        says: What to see.
        command: The command line behind `maskviz`.
    """

    name: str
    says: str
    command: tuple[str, ...]


STOPS = (
    Stop(
        "causal",
        "A decoder's token sees itself and those before it, never those behind.",
        ("show", "-m", "demo:gpt", _SENTENCE, "--only", "mask"),
    ),
    Stop(
        "padding",
        "In a batch the shorter text is padded, and no token sees the padding.",
        ("show", "A cat", "The dog ran home", "--only", "mask"),
    ),
    Stop(
        "heads",
        "Heads have roles: on random tokens said twice, induction heads look behind the earlier copy.",
        ("heads", "-m", "demo:gpt", "--probe"),
    ),
    Stop(
        "what-if",
        "Silence a head: what the model says next, and where later heads look, change.",
        ("show", "-m", "demo:gpt", _SENTENCE, "--head-mask", "0:3"),
    ),
    Stop(
        "check",
        "A batch that looks right is wrong: a decoder cannot go on from padding.",
        ("check", "-m", "demo:gpt", "--padding-side", "right", "--for", "generate", "A cat sat", "The dog ran home"),
    ),
    Stop(
        "window",
        "A window over a million tokens, worked out from its rule.",
        ("mask", "causal & window(4096)", "--length", "1000000"),
    ),
)

NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for Enter between two pictures.")]
Folder = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Write the six pictures there, as PNG.")
]


def demo(env: Env, no_wait: NoWait = False, output: Folder = None) -> None:
    """Show six pictures on the demo models, each with its command; no network is needed."""
    if output is not None:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NotFoundError(f"cannot write to {str(output)!r}: {error.strerror}", "give another folder") from error
    waits = not no_wait and output is None and env.stdin.isatty() and env.stdout.isatty()
    for number, stop in enumerate(STOPS, start=1):
        shown = f"maskviz {shlex.join(stop.command)}"
        env.stdout.write(f"{number} of {len(STOPS)}: {stop.says}\n$ {shown}\n\n")
        more = () if output is None else ("-o", str(output / f"{number}-{stop.name}.png"))
        env.again((*stop.command, *more))
        env.stdout.write("\n")
        env.stdout.flush()
        if waits and number < len(STOPS) and not _goes_on(env):
            return


def _goes_on(env: Env) -> bool:
    """Ask whether to go on; "q" or the end of input says no."""
    env.stderr.write("Enter: the next picture, q: end ")
    env.stderr.flush()
    answer = env.stdin.readline()
    return bool(answer) and not answer.strip().lower().startswith("q")
