"""Groups of options: declared once as frozen values, spread over a command for typer, a heading each in --help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand
from typer.models import ParameterInfo

from maskviz.cli.env import Env
from maskviz.cli.parsing.examples import EXAMPLES
from maskviz.cli.parsing.usage import TYPED, Declared, declared_by, records_by_panel

# What stands under no heading of its own.
_OTHER = "Options"


@dataclass(frozen=True, slots=True)
class Group:
    """Options that belong together, a field each; they share a heading of `--help`."""

    PANEL: ClassVar[str] = _OTHER


@dataclass(frozen=True, slots=True)
class GivenOptions:
    """What of a command's options somebody typed, and did not leave as it is.

    Attributes:
        names: Their parameters, in the order of the signature.
    """

    names: tuple[str, ...]

    def besides(self, known: frozenset[str]) -> str | None:
        """The first that was typed and is not among those; None where there is none."""
        return next((name for name in self.names if name not in known), None)


class PanelledCommand(TyperCommand):
    """A command whose help has a heading for each group of its options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep what was typed, for what is said of a mistake in it."""
        ctx.meta[TYPED] = tuple(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if getattr(error, "ctx", ctx) is None:  # the parser does not say whose option it is
                error.ctx = ctx  # type: ignore[attr-defined]
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then each group of options; those without a group last."""
        panels = records_by_panel(declared_by(self).values(), _OTHER)
        panels.setdefault(_OTHER, []).append(("-h, --help", "Show this and end."))
        for name, records in panels.items():
            with formatter.section(name):
                formatter.write_dl(records)
        with formatter.section("Examples"):
            for line in EXAMPLES.get(ctx.info_name, ()):
                formatter.write_text(line)


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """A command as typer reads it: the fields of its groups are options, and it is handed the groups.

    A parameter of type `Env` is the world outside, and one of type `GivenOptions` says what was typed.
    """
    signature = inspect.signature(command, eval_str=True)

    def run(ctx: typer.Context, **given: Any) -> None:
        made: dict[str, Any] = {}
        ctx.obj.quiet = given.pop(_QUIET, False)
        for name, parameter in signature.parameters.items():
            if parameter.annotation is Env:
                made[name] = ctx.obj
            elif parameter.annotation is GivenOptions:
                made[name] = GivenOptions(tuple(_typed(ctx)))
            elif is_group(parameter.annotation):
                made[name] = parameter.annotation(**{one.name: given[one.name] for one in fields(parameter.annotation)})
            else:
                made[name] = given[name]
        command(**made)

    parameters = [inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)]
    parameters += _with_quiet([*_spread(signature)])
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    declared = {one.name: found for one in parameters if (found := Declared.of(one)) is not None}
    run.declared = declared  # type: ignore[attr-defined]
    return run


def is_group(annotation: object) -> bool:
    """Whether a parameter is a group of options."""
    return isinstance(annotation, type) and issubclass(annotation, Group) and is_dataclass(annotation)


def _typed(ctx: typer.Context) -> Iterator[str]:
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            yield name


def _spread(signature: inspect.Signature) -> Iterator[inspect.Parameter]:
    for parameter in signature.parameters.values():
        if parameter.annotation in (Env, GivenOptions):
            continue
        if not is_group(parameter.annotation):
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            continue
        group = parameter.annotation
        hints = get_type_hints(group, include_extras=True)
        for field in fields(group):
            annotation = _under(hints[field.name], group.PANEL)
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            yield inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


# What every command has that writes files.
_QUIET = "quiet"
_Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing of what -o writes.", rich_help_panel="Output")]


def _with_quiet(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """The parameters of a command, with --quiet where it writes files."""
    if not any(one.name == "output" for one in parameters):
        return parameters
    return [*parameters, inspect.Parameter(_QUIET, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_Quiet)]


def _under(annotation: Any, panel: str) -> Any:
    """An option under the heading of its group."""
    assert get_origin(annotation) is Annotated
    kind, information = get_args(annotation)
    assert isinstance(information, ParameterInfo)
    own = copy(information)
    own.rich_help_panel = panel
    return Annotated[kind, own]
