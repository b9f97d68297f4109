"""The kinds of rules there are. Whoever reads rules, typed, written or seen in a mask, asks each of them in turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from maskviz.core.rules.algebra import AllOf, AnyOf, Everything, Opaque, Rule
from maskviz.core.rules.kinds import (
    Ahead,
    Band,
    BlockCausal,
    BlockDiffusion,
    Causal,
    Chunk,
    Document,
    Extra,
    Itself,
    Padding,
    Prefix,
    Repositioned,
    Span,
    UserMask,
    Window,
)

# People are told of kinds, and masks tried by them, in this order: the plainest first, and a prefix before blocks,
# since a block and one token behind it are a prefix.
_HOUSE: tuple[type[Rule], ...] = (
    Everything,
    Causal,
    Window,
    Band,
    Ahead,
    Chunk,
    Prefix,
    BlockCausal,
    BlockDiffusion,
    Document,
    Padding,
    Itself,
    Extra,
    Span,
    UserMask,
    Repositioned,
    AllOf,
    AnyOf,
    Opaque,
)
_ENTERED: dict[str, type[Rule]] = {}


def enter(kind: type[Rule]) -> None:
    """Enter a kind behind those there are.

    Raises:
        ValueError: it has no name in files, or that of another kind, or its form does not name its fields.
    """
    if not kind.kind:
        raise ValueError(f"{kind.__name__} has no `kind`, the name that files call it by")
    if kind.kind in _ENTERED:
        raise ValueError(f"{kind.__name__} is called {kind.kind!r} in files, as {_ENTERED[kind.kind].__name__} is")
    entered: Any = kind
    if not is_dataclass(entered) or len(fields(entered)) != len(kind.form):
        raise ValueError(f"{kind.__name__} is no dataclass with a `form` for each of its fields")
    _ENTERED[kind.kind] = kind


for _kind in _HOUSE:
    enter(_kind)


def kinds() -> Iterator[type[Rule]]:
    """Every kind of rule."""
    yield from tuple(_ENTERED.values())


def known_words() -> str:
    """What may be typed, as a hint says it."""
    return f"{', '.join(kind.typed for kind in kinds() if kind.typed)}, joined by ∧, & or 'and'"
