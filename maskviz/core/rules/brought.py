"""Kinds of rules, and readers of mask functions, that other packages bring."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

from maskviz.core.arrays import Content
from maskviz.core.extensions import RULES, Extension, extensions
from maskviz.core.rules.algebra import Everything, Grid, Rule
from maskviz.core.rules.forms import Cells, Flag, Form, Part, PerRow, PerToken, Said, Whole
from maskviz.core.rules.mask_function import MaskFunction

# Of the rule a kind is tried with.
_TOKENS = 4
_NAME = re.compile(r"[a-z][a-z0-9_.-]{1,63}")


@cache
def brought_kinds(taken: tuple[type[Rule], ...]) -> tuple[type[Rule], ...]:
    """The kinds that packages bring.

    Args:
        taken: The kinds there are without them.

    Raises:
        ExtensionError: one is none that can be used, or has the name of another.
    """
    found = {kind.kind: kind for kind in taken}
    for one in _brought():
        if isinstance(one.value, type):
            found[_checked(one, found).kind] = one.value
    return tuple(found.values())[len(taken) :]


def rule_by_readers(function: MaskFunction) -> Rule | None:
    """What the packages' readers say that a mask function stands for; None where none knows it.

    Raises:
        ExtensionError: a reader fails, or returns no rule.
    """
    for one in _brought():
        if isinstance(one.value, type):
            continue
        rule = one.call(one.value, function)
        if isinstance(rule, Rule):
            return rule
        if rule is not None:
            raise one.wrong(f"{one.name} returns {type(rule).__name__}, which is no rule")
    return None


def _brought() -> Iterator[Extension]:
    """Kinds and readers: a kind is a class, a reader any other thing that can be called."""
    for one in extensions(RULES):
        is_kind = isinstance(one.value, type) and issubclass(one.value, Rule)
        if not is_kind and (isinstance(one.value, type) or not callable(one.value)):
            raise one.wrong(f"{one.name} is neither a kind of rule nor a reader, a function of a MaskFunction")
        yield one


def _checked(one: Extension, known: dict[str, type[Rule]]) -> type[Rule]:
    """A kind that can be asked, written and told from the others."""
    kind: Any = one.value
    name = kind.__name__
    if missing := sorted(kind.__abstractmethods__):
        raise one.wrong(f"{name} does not say its {', '.join(missing)}")
    if not isinstance(kind.kind, str) or not _NAME.fullmatch(kind.kind):
        raise one.wrong(f"the `kind` of {name}, {kind.kind!r}, is no name of small letters")
    if kind.kind in known:
        raise one.wrong(f"it brings a kind of rule called {kind.kind!r}, and {known[kind.kind].__module__} has one")
    own = [field.name for field in fields(kind)] if is_dataclass(kind) else None
    if own is None or list(kind.form) != own or {kind.kind, "rule"} & {*own}:
        raise one.wrong(f"{name} is no dataclass whose `form` says of each of its fields how it is written")
    _try(one, kind)
    checked: type[Rule] = kind
    return checked


def _try(one: Extension, kind: type[Rule]) -> None:
    """Ask a rule of a kind once, so that one that fails is told before it is met in a mask."""
    rule, at = one.call(kind, *map(_example_of, kind.form.values())), Grid.of(1, _TOKENS, _TOKENS)
    words, visible = one.call(str, rule), np.asarray(one.call(rule.visible, at))
    one.call(rule.reasons, at)
    known = visible.dtype == np.bool_ and visible.ndim == 4
    if not known or any(axis not in (1, all_) for axis, all_ in zip(visible.shape, at.shape, strict=True)):
        given = f"{visible.dtype} {list(visible.shape)}"
        raise one.wrong(f"{words}, asked of cells, gives {given} and not bool {list(at.shape)} or axes of 1")


def _example_of(form: Form) -> Any:
    """A value that a field of this form may have."""
    match form:
        case Whole(least, most):
            return min(max(2, least), most)
        case PerRow(least, most):
            return Content([min(max(0, least), most)], np.int64)
        case PerToken(least, most, dtype):
            return Content([[min(max(0, least), most)] * _TOKENS], dtype)
        case Flag():
            return True
        case Said():
            return "a name"
        case Cells():
            return Content(np.ones((1, 1, _TOKENS, _TOKENS)), np.bool_)
        case Part():
            return Everything()
    return (Everything(),)
