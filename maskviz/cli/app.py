"""The typer app, the one boundary where errors become exit codes, and Ctrl-C."""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import maskviz
from maskviz.cli import check, convert, diff, explain, explore, heads, importance, info, mask, mlm, prune, show, view
from maskviz.cli.env import Env, fall_silent, guard_streams
from maskviz.cli.groups import PanelledCommand, spread
from maskviz.core.errors import ExitCode, FailedElsewhereError, MaskvizError, UsageError
from maskviz.core.machine import Share
from maskviz.core.writing import in_a_shell, printable

SAID = "maskviz: interrupted\n"
CODE = 130


def leave(number: int = 0, frame: object = None) -> None:
    """Say it and end this process, whatever Python is doing. Has the form of a signal's handler."""
    del number, frame
    with suppress(AttributeError, OSError, ValueError):  # it may be closed, or full
        os.write(sys.stderr.fileno(), SAID.encode())  # and not `write`, which may be what is interrupted
    os._exit(CODE)


def leave_at_interrupt() -> None:
    """Let Ctrl-C end this process at once; where it is ignored (nohup), it stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # all is said and written, and Python unmade


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt in the block, in a process that else would leave at once."""
    ours = signal.getsignal(signal.SIGINT) is leave
    try:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, leave)


# typer keeps the parser's exceptions to itself; the base of the one it shows is what every wrong usage is.
_BadUsage: type[Exception] = typer.BadParameter.__mro__[1]


class ReportingGroup(TyperGroup):
    """A MaskvizError becomes two lines on stderr and its exit code; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with interruptible(), in_a_shell():
                return super().invoke(ctx)
        except MaskvizError as error:
            report(error)
            raise typer.Exit(error.exit_code) from error
        except _BadUsage as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                raise
            place = getattr(error, "ctx", None)
            command = place.command_path if place is not None else "maskviz"
            report(UsageError(_sentence(error), f"{command} --help lists what there is"))
            raise typer.Exit(ExitCode.USAGE) from error
        except KeyboardInterrupt:
            _tell(SAID)
            raise typer.Exit(ExitCode.INTERRUPTED) from None


app = typer.Typer(
    name="maskviz",
    cls=ReportingGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="See, question and trust the attention masks of Transformer models.",
    epilog="Exit codes: 0 shown, 1 our bug, 2 usage, 3 model or file, 4 cannot be traced, 5 finding, 130 interrupted.",
)
app.command("show", cls=PanelledCommand)(spread(show.show))
app.command("check", cls=PanelledCommand)(spread(check.check))
app.command("convert", cls=PanelledCommand)(spread(convert.convert))
app.command("explain", cls=PanelledCommand)(spread(explain.explain))
app.command("diff", cls=PanelledCommand)(spread(diff.diff))
app.command("explore", cls=PanelledCommand)(spread(explore.explore))
app.command("heads", cls=PanelledCommand)(spread(heads.heads))
app.command("importance", cls=PanelledCommand)(spread(importance.importance))
app.command("prune", cls=PanelledCommand)(spread(prune.prune))
app.command("mask", cls=PanelledCommand)(spread(mask.mask))
app.command("mlm", cls=PanelledCommand)(spread(mlm.mlm))
app.command("view", cls=PanelledCommand)(spread(view.view))
app.command("info", cls=PanelledCommand)(spread(info.info))


def report(error: MaskvizError) -> None:
    """Say what was wrong on stderr: one line, and one hint."""
    if isinstance(error, FailedElsewhereError):
        return
    _tell(f"maskviz: error: {printable(error.message)}\n")
    if error.hint:
        _tell(f"  hint: {printable(error.hint)}\n")


def _tell(line: str) -> None:
    if sys.stderr is not None:  # closed before the start
        sys.stderr.write(line)


def _sentence(error: Exception) -> str:
    said = error.format_message() if hasattr(error, "format_message") else str(error)
    return " ".join(said.split()).rstrip(".")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"maskviz {maskviz.__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """See, question and trust the attention masks of Transformer models."""
    del version
    if ctx.obj is None:
        ctx.obj = Env(command=shlex.join(["maskviz", *sys.argv[1:]]))


def run() -> None:
    """Run the command line on this process's own arguments and streams."""
    if sys.stderr is None or not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # the libraries' progress bars are for those who watch
    if not Share.of_environment().leads:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch would warn of a process that has ended
        fall_silent()
    guard_streams()
    try:
        app(prog_name="maskviz")
    except MaskvizError as error:  # the parser writes help and version before there is a command
        report(error)
        sys.exit(error.exit_code)
