"""The typer app, the one boundary where errors become exit codes, and Ctrl-C."""

from __future__ import annotations

import atexit
import logging
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import maskviz
from maskviz.cli import (
    check,
    convert,
    demo,
    diff,
    doctor,
    explain,
    explore,
    heads,
    importance,
    info,
    mask,
    mlm,
    prune,
    show,
    view,
)
from maskviz.cli.env import Env, fall_silent, guard_streams
from maskviz.cli.parsing.examples import EXAMPLES, FIRST
from maskviz.cli.parsing.groups import PanelledCommand, spread
from maskviz.cli.parsing.usage import usage_error
from maskviz.cli.pulse import PULSE
from maskviz.core.errors import ExitCode, FailedElsewhereError, MaskvizError, NotFoundError, UsageError
from maskviz.core.machine import Share
from maskviz.core.writing import in_a_shell, nearest, printable

SAID = "maskviz: interrupted\n"
CODE = 130


def leave(number: int = 0, frame: object = None) -> None:
    """Say it and end this process, whatever Python is doing. Has the form of a signal's handler."""
    del number, frame
    PULSE.gone()
    with suppress(AttributeError, OSError, ValueError):  # it may be closed, or full
        os.write(sys.stderr.fileno(), SAID.encode())  # and not `write`, which may be what is interrupted
    os._exit(CODE)


def end(code: object) -> None:
    """End this process at once where all is said and written: taking Python apart takes as long as a small model does.

    Returns where other threads or processes still work, or the streams cannot be emptied: Python ends by itself then.
    """
    code = 0 if code is None else code
    others = [one for one in threading.enumerate() if one is not threading.current_thread() and not one.daemon]
    processes = sys.modules.get("multiprocessing.process")
    if others or not isinstance(code, int) or (processes is not None and processes.active_children()):
        return
    if Share.of_environment().world > 1:  # the others wait for a process that says goodbye
        return
    PULSE.gone()
    logging.shutdown()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError, MaskvizError, SystemExit):
        return
    os._exit(code)


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

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The shell that completes may be named or not."""
        if args in (["--install-completion"], ["--show-completion"]):
            args = [*args, _SHELL_OF_USER]
        return super().parse_args(ctx, args)

    def make_context(self, *given: Any, **more: Any) -> Any:
        with _reported():
            return super().make_context(*given, **more)

    def invoke(self, ctx: Any) -> Any:
        with _reported(ctx), interruptible(), in_a_shell():
            return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write what to begin with, then the commands by what they are for."""
        formatter.write_usage("maskviz", "COMMAND [OPTIONS] ...")
        formatter.write_paragraph()
        formatter.write_text("See, question and trust the attention masks of Transformer models.")
        with formatter.section("Begin with"):
            formatter.write_dl(FIRST, col_max=50)
        for title, commands in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, line) for name, _, line in commands])
                formatter.write_text(f"example: {EXAMPLES[_SHOWN[title]][0]}")
        with formatter.section("Options"):
            formatter.write_dl(_OPTIONS)
        formatter.write_paragraph()
        formatter.write_text(f"maskviz COMMAND --help has every option. {_CODES}")


@contextmanager
def _reported(context: Any = None) -> Iterator[None]:
    """Errors of ours and of the parser are said on stderr, and end with their exit code."""
    try:
        yield
    except MaskvizError as error:
        asked = os.environ.get("MASKVIZ_TRACEBACK") or getattr(getattr(context, "obj", None), "traceback", False)
        if asked and error.__cause__ is not None:
            _tell("".join(traceback.format_exception(error.__cause__)))
        report(error)
        raise typer.Exit(error.exit_code) from error
    except _BadUsage as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        report(usage_error(error))
        raise typer.Exit(ExitCode.USAGE) from error
    except KeyboardInterrupt:
        _tell(SAID)
        raise typer.Exit(ExitCode.INTERRUPTED) from None


_OPTIONS = (
    ("--version", "Print the version and end."),
    ("--install-completion [SHELL]", "Let bash, zsh or fish complete commands, options, values, models."),
    ("--show-completion [SHELL]", "Print the script for it."),
    ("-h, --help", "Show this and end."),
)
_CODES = "Exit codes: 0 shown, 1 our bug, 2 usage, 3 model or file, 4 cannot be traced, 5 finding, 130 interrupted."


app = typer.Typer(
    name="maskviz",
    cls=ReportingGroup,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="See, question and trust the attention masks of Transformer models.",
)
# By what they are for: the name, the command, and what it says of itself in a line of 80 columns.
COMMANDS: Mapping[str, tuple[tuple[str, Callable[..., None], str], ...]] = {
    "Look": (
        ("show", show.show, "which tokens each token may attend to, and where heads look"),
        ("view", view.view, "a saved run again, without the model"),
        ("explore", explore.explore, "walk through a run with the arrow keys"),
        ("info", info.info, "the rule of every layer, from the model's own code"),
        ("mask", mask.mask, "the mask of a rule, for up to millions of tokens"),
        ("mlm", mlm.mlm, "how BERT masks 15 % of its tokens"),
        ("demo", demo.demo, "a tour of six pictures"),
    ),
    "Question": (
        ("check", check.check, "is something wrong with a batch, a mask or a model?"),
        ("explain", explain.explain, "why is this cell visible or blocked?"),
        ("diff", diff.diff, "do two models, backends or runs mask the same?"),
    ),
    "Measure": (
        ("heads", heads.heads, "what each head looks at, and the role that makes"),
        ("importance", importance.importance, "which heads matter for the model's output"),
    ),
    "Change": (("prune", prune.prune, "how many heads can go, and the model without them"),),
    "Convert": (("convert", convert.convert, "a mask in the dialect of another framework"),),
    "Help": (("doctor", doctor.doctor, "releases, devices, fonts, extras of this machine"),),
}
# The command whose first example stands under each group.
_SHOWN = {
    "Look": "show",
    "Question": "explain",
    "Measure": "heads",
    "Change": "prune",
    "Convert": "convert",
    "Help": "doctor",
}
for _name, _command, _line in (one for group in COMMANDS.values() for one in group):
    app.command(_name, cls=PanelledCommand, short_help=_line)(spread(_command))


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


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"maskviz {maskviz.__version__}")
        raise typer.Exit


# Stands for the shell this is started from.
_SHELL_OF_USER = "-"


def _completed(parameter: typer.CallbackParam, named: str | None) -> None:
    """Print the script that lets a shell complete `maskviz`, or put it where the shell finds it."""
    if named is None:
        return
    from maskviz.cli.parsing.completion import SCRIPTS, install, shell_of_user

    shell = shell_of_user() if named == _SHELL_OF_USER else named
    if shell not in SCRIPTS:
        own = "this is none of the shells that are known"
        said = own if named == _SHELL_OF_USER else f"there is no completion for {named!r}"
        raise UsageError(said, f"{nearest(named, SCRIPTS)} name one of {', '.join(SCRIPTS)}".strip())
    if parameter.name == "show_completion":
        typer.echo(SCRIPTS[shell], nl=False)
    else:
        try:
            written = install(shell)
        except OSError as error:
            raise NotFoundError(f"cannot write {error.filename}: {error.strerror}", "see --show-completion") from error
        typer.echo(f"wrote {' and '.join(map(str, written))}; a new {shell} completes maskviz")
    raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    install_completion: Annotated[
        str | None,
        typer.Option(
            "--install-completion",
            metavar="[SHELL]",
            callback=_completed,
            is_eager=True,
            help="Let bash, zsh or fish complete commands, options, values, models.",
        ),
    ] = None,
    show_completion: Annotated[
        str | None,
        typer.Option(
            "--show-completion", metavar="[SHELL]", callback=_completed, is_eager=True, help="Print the script for it."
        ),
    ] = None,
) -> None:
    """See, question and trust the attention masks of Transformer models."""
    del version, install_completion, show_completion
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit
    if ctx.obj is None:
        ctx.obj = Env(command=shlex.join(["maskviz", *sys.argv[1:]]))
    ctx.obj.again = partial(_again, ctx)


def _again(ctx: typer.Context, arguments: Sequence[str]) -> None:
    """Run another command line on the same streams, whatever its exit code."""
    own = replace(ctx.obj, command=shlex.join(["maskviz", *arguments]))
    ctx.command.main(list(arguments), prog_name="maskviz", obj=own, standalone_mode=False)


def run() -> None:
    """Run the command line on this process's own arguments and streams."""
    if sys.stderr is None or not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # the libraries' progress bars are for those who watch
    if not Share.of_environment().leads:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch would warn of a process that has ended
        fall_silent()
    guard_streams()
    if "_MASKVIZ_COMPLETE" in os.environ:
        from typer.main import get_command

        from maskviz.cli.parsing.completion import answer

        sentences = {name: line for group in COMMANDS.values() for name, _, line in group}
        typer.echo(answer(get_command(app), sentences))
        return
    try:
        app(prog_name="maskviz")
    except MaskvizError as error:  # the parser writes help and version before there is a command
        report(error)
        sys.exit(error.exit_code)
