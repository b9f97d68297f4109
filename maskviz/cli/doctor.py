"""`maskviz doctor`: what maskviz finds on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.files import checked, deliver, print_out
from maskviz.core.errors import UsageError

AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


def doctor(env: Env, picture: o.DpiOptions, json: AsJson = False, output: o.DataOutput = None) -> None:
    """Show releases beside those tested, devices, fonts, the terminal, extras and the models on this machine."""
    if json and output:
        raise UsageError("--json and -o are given together", "-o machine.json writes it into a file")
    paths, drawing = checked(output, (".json",)), picture.drawing()

    from maskviz.api.doctor import doctor as found

    answer = found(_terminal(env))
    if json:
        print_out(env, answer.data(".json", env.command).decode() + "\n")
    else:
        deliver(env, answer, paths, drawing)


def _terminal(env: Env) -> dict[str, str]:
    """What the terminal shows."""
    console = env.console()
    encoding = console.encoding
    return {
        "standard output": "a terminal" if env.stdout.isatty() else "no terminal",
        "columns": str(console.width),
        "colours": {None: "none", "standard": "16", "256": "256"}.get(console.color_system, "all"),
        "characters": "ASCII alone" if console.options.ascii_only else encoding,
    }
