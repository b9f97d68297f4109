"""What a condition says of some cells in words: its inequality with numbers, and what would have to change."""

from __future__ import annotations

from maskviz.core.panels.printable import printable, ranges
from maskviz.core.results.why import Condition, Ends
from maskviz.core.rules.algebra import AllOf, Combination, Everything, Rule
from maskviz.core.rules.block_kinds import BlockCausal, BlockDiffusion, Prefix
from maskviz.core.rules.kinds import (
    Ahead,
    Band,
    Causal,
    Chunk,
    Document,
    Extra,
    Itself,
    Padding,
    Span,
    UserMask,
    Window,
)
from maskviz.core.rules.reasons import Reason


def because(condition: Condition) -> str:
    """Why a condition lets queries see keys, or does not, with its numbers."""
    if isinstance(condition.rule, Combination):
        return _because_of_parts(condition)
    if condition.holds is None:
        return f"what {printable(str(condition.rule))} does could not be read"
    query, key = _names(condition)
    if isinstance(condition.rule, Window | Ahead | Band):
        return _of_distance(condition, query, key)
    if isinstance(condition.rule, Chunk | Document | Span):
        return _of_pieces(condition, query, key)
    if isinstance(condition.rule, BlockCausal | BlockDiffusion):
        return _of_blocks(condition, query, key)
    if isinstance(condition.rule, Prefix):
        return _of_prefix(condition.rule, condition, query, key)
    return _of_one(condition, query, key)


def _of_one(condition: Condition, query: str, key: str) -> str:
    """Rules that are alone in their kind."""
    holds = condition.holds
    match condition.rule:
        case Causal():
            return f"{key} ≤ {query}: not in the future" if holds else f"{key} > {query}: future"
        case Itself():
            return f"{key} is the query itself" if holds else f"{key} {_is(condition.key)} not the query itself"
        case Extra(first):
            own = f"of the model's own keys, which begin at key {first}"
            return f"{key} {_is(condition.key)} {'' if holds else 'none '}{own}"
        case Padding():
            return _of_padding(condition, query, key)
        case UserMask():
            return f"the mask that was given {'lets' if holds else 'does not let'} {query} see {key}"
        case Everything():
            return "every token may attend to every token"
    return f"{condition.rule} {'lets' if holds else 'does not let'} {query} see {key}"


def change(condition: Condition) -> str:
    """What would have to change for a condition that blocks some cells to let them through."""
    if isinstance(condition.rule, Combination):
        failing = [part for part in condition.parts if part.holds is not True]
        return f" {'and' if isinstance(condition.rule, AllOf) else 'or'} ".join(map(change, failing))
    if condition.holds is None:
        return "not known"
    if condition.needed is not None:
        return _change_of_number(condition, condition.needed)
    query, key = _names(condition)
    match condition.rule:
        case Padding():
            return _change_of_padding(condition)
        case Document():
            return "they would have to be of one text"
        case Span():
            return "they would have to be of one span"
        case UserMask():
            return f"the mask that is given would have to let {query} see {key}"
        case Chunk():
            return "no size of chunks would do: the first begins between them"
        case BlockDiffusion() if condition.query.first < condition.rule.length:
            return "a noisy query sees its own noisy block and the clean blocks before it"
        case BlockDiffusion():
            return "a clean query sees the clean blocks up to its own"
    return f"{query} and {key} would have to meet '{condition.rule}'"


def _change_of_number(condition: Condition, least: int) -> str:
    it = "it" if _single(condition) else "them all"
    match condition.rule:
        case Prefix():
            return f"a prefix of at least {least} would show {it}"
        case Causal() | BlockCausal():
            return f"the query would have to be {'at position ' if condition.moved else ''}{least} or later"
        case Window():
            return f"a window of at least {least} would show {it}"
        case Ahead():
            return f"a reach of at least {least} would show {it}"
        case Band():
            return f"a window of at least ±{least} would show {it}"
    return f"chunks of {least} would hold {'both' if _single(condition) else 'all of them'}"


def _because_of_parts(condition: Condition) -> str:
    parts = condition.parts
    if isinstance(condition.rule, AllOf):
        return "; ".join(because(part) for part in parts if part.holds is condition.holds)
    main, exceptions = ([part for part in parts if part.rule.exception is one] for one in (False, True))
    holding = [part for part in main if part.holds] or [part for part in exceptions if part.holds]
    if any(part.holds for part in main):
        return "; ".join(map(because, holding))
    said = "; ".join(map(because, main))
    if holding:
        return f"{said}, but {'; '.join(map(because, holding))}" if said else "; ".join(map(because, holding))
    if not exceptions:
        return said
    others = "; ".join(map(because, exceptions))
    return f"{said}; and no exception: {others}" if said else others


def _of_distance(condition: Condition, query: str, key: str) -> str:
    rule, holds = condition.rule, condition.holds
    behind = Ends(condition.query.first - condition.key.last, condition.query.last - condition.key.first)
    if isinstance(rule, Window):
        return f"{query} − {key} = {_span(behind)} {'<' if holds else '≥'} window {rule.size}"
    sign = "≤" if holds else ">"
    if isinstance(rule, Ahead):
        return f"{key} − {query} = {_span(Ends(-behind.last, -behind.first))} {sign} reach {rule.reach}"
    assert isinstance(rule, Band)
    sizes = sorted((abs(behind.first), abs(behind.last)))
    least = 0 if behind.first <= 0 <= behind.last else sizes[0]
    return f"|{query} − {key}| = {_span(Ends(least, sizes[1]))} {sign} reach {rule.reach}"


def _of_pieces(condition: Condition, query: str, key: str) -> str:
    rule = condition.rule
    if isinstance(rule, Chunk):
        if condition.holds and condition.query_pieces == condition.key_pieces:
            return f"{query} and {key} are in {_chunks(rule, condition.query_pieces)}"
        ours, theirs = (_chunks(rule, pieces) for pieces in (condition.query_pieces, condition.key_pieces))
        return f"{query} {_is(condition.query)} in {ours}, {key} in {theirs}"
    word = "text" if isinstance(rule, Document) else "span"
    ours, theirs = (_numbered(word, pieces) for pieces in (condition.query_pieces, condition.key_pieces))
    if condition.holds and ours == theirs:
        return f"{query} and {key} are of {ours}"
    return f"{query} {_is(condition.query)} of {ours}, {key} of {theirs}"


def _of_blocks(condition: Condition, query: str, key: str) -> str:
    ours, theirs = (
        _blocks(condition.rule, side.first, pieces)
        for side, pieces in ((condition.query, condition.query_pieces), (condition.key, condition.key_pieces))
    )
    if ours == theirs:
        said = f"{key} and {query} are in {ours}"
    else:
        said = f"{key} {_is(condition.key)} in {theirs}, {query} in {ours}"
    return said if condition.holds or not condition.reasons & Reason.FUTURE else f"{said}: future"


def _blocks(rule: Rule, first: int, pieces: tuple[int, ...]) -> str:
    half = "" if not isinstance(rule, BlockDiffusion) else "noisy " if first < rule.length else "clean "
    if len(pieces) > 1 or not isinstance(rule, BlockCausal):
        return f"{half}block{'s' if len(pieces) > 1 else ''} {ranges(pieces)}"
    return f"block {pieces[0]} (tokens {Ends(pieces[0] * rule.size, (pieces[0] + 1) * rule.size - 1)})"


def _of_prefix(rule: Prefix, condition: Condition, query: str, key: str) -> str:
    lengths = set(rule.length.array.tolist())
    tokens = max(lengths)
    which = "" if len(lengths) > 1 else f" (tokens {Ends(0, tokens - 1)})" if tokens else " (no token)"
    if condition.key_pieces == (0,):
        return f"{key} {_is(condition.key)} in the prefix{which}"
    if condition.holds:
        return f"{key} ≤ {query}: not in the future"
    return f"{key} > {query}: future, and behind the prefix{which}"


def _chunks(rule: Chunk, pieces: tuple[int, ...]) -> str:
    start = int(rule.start.array.min()) if len(set(rule.start.array.tolist())) == 1 else None
    if len(pieces) > 1 or start is None:
        return f"chunk{'s' if len(pieces) > 1 else ''} {_listed(pieces)}"
    first = start + pieces[0] * rule.size
    return f"chunk {pieces[0]} (tokens {Ends(max(0, first), first + rule.size - 1)})"


def _listed(pieces: tuple[int, ...]) -> str:
    return ranges(pieces) if min(pieces) >= 0 else ", ".join(map(str, pieces))


def _numbered(word: str, pieces: tuple[int, ...]) -> str:
    known = [piece + 1 for piece in pieces if piece >= 0]
    if not known:
        return f"no {word}"
    said = f"{word}{'s' if len(known) > 1 else ''} {ranges(known)}"
    return said if len(known) == len(pieces) else f"{said} or none"


def _of_padding(condition: Condition, query: str, key: str) -> str:
    if condition.holds:
        return f"{key} {_is(condition.key)} no padding"
    said = f"{key} {_is(condition.key)} padding" if condition.padding_key else ""
    if not condition.padding_query or not getattr(condition.rule, "queries", False):
        return said
    own = f"{query} {_is(condition.query)} padding"
    return f"{said}, and {own}" if said else own


def _change_of_padding(condition: Condition) -> str:
    sides = [condition.key] if condition.padding_key else []
    if condition.padding_query and getattr(condition.rule, "queries", False) and condition.query not in sides:
        sides.append(condition.query)
    tokens = " and ".join(_plural("token", side) for side in sides)
    return f"the attention mask of {tokens} would have to be 1"


def _names(condition: Condition) -> tuple[str, str]:
    query, key = (
        _plural(word, ends, condition.moved) for word, ends in (("query", condition.query), ("key", condition.key))
    )
    return query, key


def _plural(word: str, ends: Ends, moved: bool = False) -> str:
    one = ends.first == ends.last
    name = word if one else f"{word[:-1]}ies" if word.endswith("ry") else f"{word}s"
    return f"{name} at position{'' if one else 's'} {ends}" if moved else f"{name} {ends}"


def _span(numbers: Ends) -> str:
    return str(numbers.first) if numbers.first == numbers.last else f"{numbers.first} to {numbers.last}"


def _is(ends: Ends) -> str:
    return "is" if ends.first == ends.last else "are"


def _single(condition: Condition) -> bool:
    return condition.query.first == condition.query.last and condition.key.first == condition.key.last
