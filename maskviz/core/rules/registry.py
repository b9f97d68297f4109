"""The kinds of rules there are. Whoever reads rules, typed, written or seen in a mask, asks each of them in turn."""

from __future__ import annotations

from collections.abc import Iterator

from maskviz.core.rules.algebra import AllOf, AnyOf, Everything, Opaque, Rule
from maskviz.core.rules.brought import brought_kinds
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


def house_kinds() -> tuple[type[Rule], ...]:
    """The kinds that need no other package."""
    return _HOUSE


def kinds() -> Iterator[type[Rule]]:
    """Every kind of rule: those of the house, then those that other packages bring. These are imported for whoever asks
    on, since none of the house was what they looked for.

    Raises:
        ExtensionError: a package is broken.
    """
    yield from _HOUSE
    yield from brought_kinds(_HOUSE)


def kind_called(name: object) -> type[Rule] | None:
    """The kind that files call so."""
    return next((kind for kind in kinds() if kind.kind == name), None)


def words() -> tuple[str, ...]:
    """What may be typed, a word for each kind."""
    return tuple(kind.typed for kind in kinds() if kind.typed)


def known_words() -> str:
    """What may be typed, as a hint says it."""
    return f"{', '.join(words())}, joined by ∧, & or 'and'"
