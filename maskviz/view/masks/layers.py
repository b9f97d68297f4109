"""A model's layers as tables: the attention of each as the model's own code makes it, and whose masks look the same."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from maskviz.core.panels.page import Note, Panel, Table
from maskviz.core.results.results import Likeness
from maskviz.core.rules.algebra import Everything, Leaf, Rule
from maskviz.core.rules.kinds.causal import Causal
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import CONTENT, ModelCard, Trace
from maskviz.core.words import Stack
from maskviz.core.writing import printable, ranges

_COLUMNS = ("layer>", "attention", "rule", "window>", "heads>", "key heads>")
_Row = tuple[str, str, str, str, str]


def layer_tables(trace: Trace) -> list[Table]:
    """One table per stack; neighbouring layers that are alike share a row."""
    stacks = list(dict.fromkeys([*trace.stacks, *(layer.stack for layer in trace.silent)]))
    tables = []
    for stack in (one for one in Stack if one in stacks):
        rows = []
        for row, group in groupby(sorted(_rows(trace, stack).items()), key=lambda pair: pair[1]):
            numbers = [layer for layer, _ in group]
            rows.append((str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}", *row))
        tables.append(Table(f"{stack.value} layers" if len(stacks) > 1 else "layers", _COLUMNS, tuple(rows)))
    return tables


def likeness_panels(likeness: Likeness) -> list[Panel]:
    """The model types whose masks look the same, by the longest text for which they do."""
    known = f"{likeness.known} model types, as the default configs of transformers {likeness.release} make them"
    if not likeness.alike:
        return [Note(f"At {likeness.length:,} tokens the masks look like those of none of {known}.")]
    names: dict[int | None, list[str]] = {}
    for one in likeness.alike:
        names.setdefault(one.until, []).append(f"{one.masks.name}*" if one.masks.others else one.masks.name)
    ends = sorted(names, key=lambda until: (until is not None, -(until or 0)))
    rows = tuple(
        ("any" if until is None else f"{until:,}", printable(", ".join(sorted(names[until])))) for until in ends
    )
    caption = f"{len(likeness.alike)} of {known}"
    if any(one.masks.others for one in likeness.alike):
        caption += "; * beside layers without an attention matrix"
    return [Table(f"the same masks at {likeness.length:,} tokens", ("up to>", "model types"), rows, caption)]


def disagreements(
    card: ModelCard, trace: Trace, unused: Mapping[str, int], beyond: Mapping[str, int], because: str = ""
) -> tuple[str, ...]:
    """Where the config's words and what the layers do are not the same; arguments as `info_page` takes them."""
    notes = []
    if unused:
        named = _listed(unused)
        why = because or "the model's own code does not use it"
        notes.append(f"The config names {named}, and no layer has a window: {why}.")
    if beyond:
        notes.append(
            f"{_listed(beyond)} of the config blocks cells of longer texts only: up to there the rules are as they "
            "stand here, and beyond it 'maskviz show' on such a text tells."
        )
    if not unused and not beyond:
        notes += _differently_worded(card, trace)
    return tuple(notes)


def _differently_worded(card: ModelCard, trace: Trace) -> list[str]:
    """Layers the config calls local that see everything before them, or the other way round."""
    groups: dict[tuple[str, str], list[int]] = {}
    for call in trace.of_stack(trace.stacks[0]) if trace.calls else ():
        rule, local = call.mask.rule, card.calls_local(call.layer)
        limited = any(leaf.reason in (Reason.WINDOW, Reason.CHUNK) for leaf in rule.leaves() if isinstance(leaf, Leaf))
        if rule.readable and local is not None and local != limited:
            groups.setdefault((card.attention[call.layer], str(rule)), []).append(call.layer)
    return [
        f"The config calls layer{'s' if len(layers) > 1 else ''} {ranges(layers)} {printable(words)!r}; "
        f"what the model's own code makes there is {printable(rule)}."
        for (words, rule), layers in groups.items()
    ]


def _listed(numbers: Mapping[str, int]) -> str:
    return " and ".join(f"{printable(name)} {number:,}" for name, number in numbers.items())


def _rows(trace: Trace, stack: Stack) -> dict[int, _Row]:
    """What a table says of each layer of a stack."""
    found: dict[int, _Row] = {}
    for call in trace.of_stack(stack):
        rule = call.mask.rule
        row = (_kind(rule), printable(str(rule)), _size(rule), str(call.heads), str(call.key_heads))
        before = found.get(call.layer, row)
        joined = [one if one == other else f"{one} + {other}" for one, other in zip(before, row, strict=True)]
        found[call.layer] = (joined[0], joined[1], joined[2], joined[3], joined[4])
    for layer in trace.silent:
        if layer.stack is stack:
            words = CONTENT if layer.kind == CONTENT else layer.kind or "none was heard"
            found.setdefault(layer.layer, (words, "", "", "", ""))
    return found


def _kind(rule: Rule) -> str:
    leaves = rule.leaves()
    if not rule.readable:
        return "not read"
    if looks := sorted((-leaf.place, leaf.look) for leaf in leaves if leaf.look):
        return looks[0][1]
    if any(isinstance(leaf, Causal) for leaf in leaves):
        return "full"
    return "bidirectional" if isinstance(rule, Everything) else "other"


def _size(rule: Rule) -> str:
    return ", ".join(dict.fromkeys(leaf.amount for leaf in rule.leaves() if leaf.amount))
