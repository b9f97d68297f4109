"""Rules to and from JSON, and what may stand there: by the forms that each kind says its fields have."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np

from maskviz.core.arrays import Content
from maskviz.core.rules import forms
from maskviz.core.rules.algebra import Rule
from maskviz.core.rules.registry import house_kinds, kind_called, kinds
from maskviz.store.schema import Bits, Integer, Kind, ListOf, MisfitError, OneOf, Record, String, TableOf, Truth, shown

# How many rules may lie in each other, and side by side.
_DEEPEST, _MOST_PARTS = 8, 64
_SIZE = Integer(1, 2**31)


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """A rule as a JSON object; `rule_from_json` gives back an equal one."""
    written = {} if rule.kind in rule.form else {"rule": rule.kind}
    for (name, form), field in zip(rule.form.items(), fields(cast(Any, rule)), strict=True):
        written |= _written(name, form, getattr(rule, field.name))
    return written


def _written(name: str, form: forms.Form, value: Any) -> dict[str, Any]:
    match form:
        case forms.PerRow() | forms.PerToken():
            numbers = value.array
            return {name: (numbers.astype(int) if numbers.dtype == np.bool_ else numbers).tolist()}
        case forms.Cells():
            bits = base64.b64encode(np.packbits(value.array).tobytes()).decode()
            return {name: bits, "shape": list(value.array.shape)}
        case forms.Part():
            return {name: rule_to_json(value)}
        case forms.Parts():
            return {name: [rule_to_json(part) for part in value]}
        case forms.Said(optional=True) if not value:
            return {}
    return {name: value}


def rule_from_json(data: dict[str, Any]) -> Rule:
    """Read what `rule_to_json` wrote.

    Raises:
        ValueError: it is something else.
    """
    kind = _kind_of(data)
    try:
        return kind(*(_read(data, name, form) for name, form in kind.form.items()))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no rule: {data!r}") from error


def _kind_of(data: Any) -> type[Rule]:
    """The kind a rule is of, by the name that tells them apart."""
    found: list[type[Rule]] = []
    if isinstance(data, dict) and "rule" in data:
        found += [kind for kind in [kind_called(data["rule"])] if kind is not None and kind.kind not in kind.form]
    elif isinstance(data, dict):
        found += [kind for kind in house_kinds() if kind.kind in data and kind.kind in kind.form]
    if len(found) != 1:
        raise ValueError(f"no rule: {data!r}")
    return found[0]


def _read(data: dict[str, Any], name: str, form: forms.Form) -> Any:
    if form == forms.Said(optional=True):
        return data.get(name, "")
    value = data[name]
    match form:
        case forms.PerRow():
            return Content(value, np.int64)
        case forms.PerToken():
            return Content(value, form.dtype)
        case forms.Cells():
            shape = data["shape"]
            cells = np.unpackbits(np.frombuffer(base64.b64decode(value, validate=True), np.uint8))
            return Content(cells[: math.prod(shape)].reshape(shape), np.bool_)
        case forms.Part():
            return rule_from_json(value)
        case forms.Parts():
            return tuple(map(rule_from_json, value))
    return value


@dataclass(frozen=True, slots=True)
class RuleIn(Kind):
    """What the rule of a call may be.

    Attributes:
        rows: Rows of the batch.
        heads: Heads of the call.
        deepest: How many rules may lie in each other.
    """

    rows: int
    heads: int
    deepest: int = _DEEPEST

    def check(self, value: Any) -> None:
        if self.deepest < 1:
            raise MisfitError("it is nested too deeply")
        try:
            kind = _kind_of(value)
        except ValueError:
            said = value["rule"] if isinstance(value, dict) and "rule" in value else value
            raise MisfitError(f"{shown(said)} is none of {', '.join(kind.kind for kind in kinds())}") from None
        named: dict[str, Kind] = {} if kind.kind in kind.form else {"rule": OneOf((kind.kind,))}
        if any(isinstance(form, forms.Cells) for form in kind.form.values()):
            Bits(kind.kind, (_SIZE, OneOf((1, self.heads)), _SIZE, _SIZE)).check(value)
            return
        optional = {name for name, form in kind.form.items() if form == forms.Said(optional=True)}
        members = {name: self._kind(form) for name, form in kind.form.items()}
        needed = {name: one for name, one in members.items() if name not in optional}
        Record({name: members[name] for name in optional}, **named, **needed).check(value)

    def _kind(self, form: forms.Form) -> Kind:
        inner = RuleIn(self.rows, self.heads, self.deepest - 1)
        match form:
            case forms.Whole(least, most):
                return Integer(least, most)
            case forms.PerRow(least, most):
                return ListOf(Integer(least, most), self.rows, self.rows)
            case forms.PerToken(least, most):
                return TableOf(Integer(least, most), self.rows)
            case forms.Flag():
                return Truth()
            case forms.Part():
                return inner
            case forms.Parts():
                return ListOf(inner, 1, _MOST_PARTS)
        return String()
