"""Options as they were declared, in words: what the help says of them, and what is wrong with what was typed."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from typer.models import ArgumentInfo, ParameterInfo

from maskviz.core.errors import UsageError
from maskviz.core.writing import nearest

# Where a command keeps the words it was called with.
TYPED = "maskviz.typed"


@dataclass(frozen=True, slots=True)
class Declared:
    """An option or an argument as it was declared; typer's own record of it moves with its releases.

    Attributes:
        names: How it is typed, such as "--model" and "-m"; of an argument what stands for it.
        kind: What a value is: bool, int, float, Path, str, or an enumeration.
        info: What typer was told.
        default: Its default, None where it has none.
    """

    names: tuple[str, ...]
    kind: type
    info: ParameterInfo
    default: Any

    @classmethod
    def of(cls, parameter: inspect.Parameter) -> Declared | None:
        """The declaration of a parameter of a command; None for what is no option."""
        if get_origin(parameter.annotation) is not Annotated:
            return None
        kind, info = get_args(parameter.annotation)[:2]
        names = tuple(info.param_decls or ())
        if isinstance(info.default, str):  # typer takes the first name for a default until it reads the annotation
            names = (info.default, *names)
        if isinstance(info, ArgumentInfo):
            names = (str(info.metavar or parameter.name.upper()),)
        default = None if parameter.default is inspect.Parameter.empty else parameter.default
        return cls(names, _one_kind(kind), info, default)

    @property
    def argument(self) -> bool:
        """Whether it is told by its place."""
        return isinstance(self.info, ArgumentInfo)

    @property
    def flag(self) -> bool:
        """Whether it takes no value."""
        return self.kind is bool

    @property
    def written(self) -> str:
        """How it is named: --layer, or MODEL."""
        return self.names[0].strip("[]") if self.argument else max(self.names, key=len)

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it takes, none where it takes any."""
        return tuple(str(one.value) for one in self.kind) if issubclass(self.kind, Enum) else ()

    @property
    def range(self) -> str:
        """The range of a number: "at least 1", "0 to 1"; empty where any will do."""
        least, most = self.info.min, self.info.max
        if most is not None and most >= 2**31:  # as many as a seed can be
            most = None
        if least is not None and most is not None:
            return f"{least:g} to {most:,g}"
        return f"at least {least:g}" if least is not None else "" if most is None else f"at most {most:g}"

    @property
    def value(self) -> str:
        """What stands for a value: its name, its choices where they are few, else what kind it is."""
        if self.info.metavar:
            return str(self.info.metavar)
        choices = "|".join(self.choices)
        if choices:
            return choices if len(choices) <= _LONGEST_CHOICES else "WORD"
        return _KINDS.get(self.kind, "TEXT")

    def record(self) -> tuple[str, str]:
        """How it is typed, and what it says, as the help lists it."""
        if self.argument:
            return self.names[0], self.info.help or ""
        typed = ", ".join(sorted(self.names, key=len))
        return typed if self.flag else f"{typed} {self.value}", self._said()

    def _said(self) -> str:
        """What it says, with the words it takes, its range and its default."""
        facts: list[str] = []
        said = (self.info.help or "").rstrip(".")
        if self.value == "WORD" and not all(one in said for one in self.choices):
            facts.append(f"one of {', '.join(self.choices)}")
        if self.range:
            facts.append(self.range)
        default = getattr(self.default, "value", self.default)
        if not self.flag and isinstance(default, str | int | float) and "default" not in said.lower():
            facts.append(f"default: {default}")
        return f"{said} ({'; '.join(facts)})." if facts else f"{said}."


_LONGEST_CHOICES = 24
_KINDS: Mapping[type, str] = {int: "N", float: "X", Path: "FILE"}


def _one_kind(kind: Any) -> type:
    """The kind of one value, of an annotation such as `list[int] | None`."""
    if get_origin(kind) in (Union, UnionType):
        kind = next(one for one in get_args(kind) if one is not NoneType)
    if get_origin(kind) is list:
        kind = get_args(kind)[0]
    return kind if isinstance(kind, type) else str


def declared_by(command: Any) -> Mapping[str, Declared]:
    """The options of a command by the names of their parameters."""
    found: Mapping[str, Declared] = getattr(getattr(command, "callback", None), "declared", {})
    return found


def usage_error(error: Exception) -> UsageError:
    """A mistake the parser found as one of ours: what was wrong with which value, and what would be right."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    known = declared_by(context.command) if context is not None else {}
    listed = f"{context.command_path if context is not None else 'maskviz'} --help lists what there is"
    declared = known.get(getattr(parameter, "name", "") or "")
    said = " ".join((error.format_message() if hasattr(error, "format_message") else str(error)).split()).rstrip(".")
    option = str(getattr(error, "option_name", "") or "")
    if declared is not None and not said.startswith("Missing"):
        typed = () if context is None else context.meta.get(TYPED, ())
        return _bad_value(declared, _typed(declared, typed), listed)
    if declared is not None:
        return UsageError(f"{declared.written} is missing", listed)
    if said.startswith("No such option"):
        names = [name for one in known.values() for name in one.names if name.startswith("--")]
        command = context.command_path if context is not None else "maskviz"
        return UsageError(f"there is no option {option} of '{command}'", nearest(option, names) or listed)
    if option:
        value = next((one.value for one in known.values() if option in one.names), "VALUE")
        return UsageError(f"{option} needs a value", f"write {option} {value}")
    if said.startswith("No such command") and context is not None:
        given = said.split("'")[1]
        close = nearest(given, context.command.list_commands(context))
        return UsageError(f"there is no command {given!r}", close or listed)
    if said.startswith("Got unexpected extra argument"):
        return UsageError(f"one argument too many: {said.rpartition(' (')[2].rstrip(')')}", listed)
    return UsageError(said, listed)


def _bad_value(declared: Declared, given: str | None, listed: str) -> UsageError:
    said = declared.written if given is None else f"{declared.written} {given[:60]!r}"
    if declared.choices:
        close = nearest(given or "", declared.choices)
        return UsageError(f"{said} is none of {', '.join(declared.choices)}", close or listed)
    kind = {int: "a whole number", float: "a number"}.get(declared.kind)
    if kind is None:
        return UsageError(f"{said} cannot be read", listed)
    return UsageError(f"{said} is not {kind}{f' of {declared.range}' if declared.range else ''}", listed)


def _typed(declared: Declared, arguments: Sequence[str]) -> str | None:
    """What was typed for an option, None where it cannot be told."""
    for place, one in enumerate(arguments):
        name, joined, value = one.partition("=")
        if name in declared.names and joined:
            return value
        if one in declared.names and place + 1 < len(arguments):
            return arguments[place + 1]
    return None


def records_by_panel(declared: Iterable[Declared], other: str) -> dict[str, list[tuple[str, str]]]:
    """What the help lists, by heading: arguments first, options without a heading last, under `other`."""
    panels: dict[str, list[tuple[str, str]]] = {"Arguments": []}
    for one in declared:
        panel = "Arguments" if one.argument else one.info.rich_help_panel or other
        panels.setdefault(panel, []).append(one.record())
    panels[other] = panels.pop(other, [])
    return {name: records for name, records in panels.items() if records}
