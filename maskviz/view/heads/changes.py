"""What a head mask changed, as panels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from maskviz.core.arrays import top_value
from maskviz.core.panels.page import HeadGrid, HeadTile, MapRow, Matrix, Note, Panel, Table, Tone
from maskviz.core.results.results import Comparison, HiddenDiff, LossDiff, PatternDiff, PlaceDiff
from maskviz.core.run.heads import Head, HeadMask
from maskviz.core.run.trace import AttentionCall, OutputKind, Trace
from maskviz.core.words import Scale
from maskviz.core.writing import either, plural, ranges
from maskviz.view.pictures import blocked_cells, heatmap

Names = Callable[[int], str]


def change_panels(after: Trace, change: Comparison, names: Names, *, everything: bool = True) -> list[Panel]:
    """What was silenced, how the outputs moved, and how later attention moved.

    Args:
        after: The gated run.
        change: Its comparison with the plain one.
        names: The printable token an id stands for.
        everything: Whether each text and each layer is in it, and not those that changed most alone.
    """
    panels: list[Panel] = []
    if after.head_mask is not None:
        panels.append(Note(describe(after.head_mask)))
    places = change.places if everything else _most_changed(change.places)
    tables = [_place_table(after, place, change, names) for place in places]
    if len(places) < len(change.places):
        most = f"it changed most of {len(change.places)}, {either('show(all=True)', '--all')} lists all"
        tables = [replace(table, caption=f"{table.caption}; {most}") for table in tables]
    panels += tables
    if change.kind is None:
        panels.append(Note("This model's outputs are of a kind that is not compared; its attention is.", Tone.QUIET))
    if change.kind is OutputKind.MASKED_LM and not change.places:
        panels.append(Note("No mask token in the text, so no prediction to compare.", Tone.QUIET))
    if change.losses:
        panels.append(_loss_table(change.losses if everything else change.losses[:_FIRST_TEXTS], change.kind))
    if change.hidden:
        panels.append(_hidden_table(change.hidden if everything else change.hidden[:_FIRST_TEXTS]))
    return panels + (moved_matrices(after, change.patterns) if everything else _moved(after, change))


def most_moved_maps(before: Trace, after: Trace, change: Comparison, row: int, scale: Scale) -> list[Panel]:
    """The map of the head whose attention moved most, before and after, for one text."""
    if any(np.isnan(diff.moved).any() for diff in change.patterns):
        return [Note("Some attention is not a number (NaN) and cannot be compared.", Tone.WARNING)]
    most = most_moved(change)
    if not most:
        return [Note("No later attention moved.", Tone.QUIET)]
    call, head = most[0]
    earlier = before.calls[after.calls.index(call)]
    maps = [heatmap(before, earlier, head, row, scale), heatmap(after, call, head, row, scale)]
    top = max(one.top for one in maps)
    named = [
        replace(one, title=title, caption="", top=top) for one, title in zip(maps, ("before", "after"), strict=True)
    ]
    return [MapRow(f"{maps[0].title}, whose attention moved most", maps[0].caption, tuple(named))]


def most_moved_grid(before: Trace, after: Trace, change: Comparison, row: int, count: int) -> HeadGrid | None:
    """Small maps of the heads whose attention moved most, before and after, for one text; None where none moved."""
    most = most_moved(change, count)
    tiles = []
    for column, (call, head) in enumerate(most):
        earlier = before.calls[after.calls.index(call)]
        for line, one in enumerate((earlier, call)):
            if one.pattern is not None:
                real = after.real_queries(one)[row]
                tiles.append(HeadTile(line, column, one.pattern[row, head], blocked_cells(one, row, head), ~real))
    if not tiles:
        return None
    several = len(after.stacks) > 1
    return HeadGrid(
        title="the heads whose attention moves most",
        caption="each map: queries down, keys across",
        row_names=("before", "after"),
        column_names=tuple(f"{call.stack.value + ' ' if several else ''}{call.layer}.{head}" for call, head in most),
        tiles=tuple(tiles),
        top=top_value(tile.values[~tile.meaningless] for tile in tiles),
    )


def describe(mask: HeadMask) -> str:
    """A head mask in a sentence."""
    heads = mask.changed()
    if not heads:
        return "The head mask keeps every head."
    silenced = [_named(mask, stack, head) for stack, head, gate in heads if gate == 0]
    scaled = [f"{_named(mask, stack, head)} to {gate:g}" for stack, head, gate in heads if gate > 0]
    parts = []
    if silenced:
        parts.append(f"silenced {plural(len(silenced), 'head')}: {_listed(silenced)}")
    if scaled:
        parts.append(f"scaled {_listed(scaled)}")
    return f"What if: {'; '.join(parts)}. Gates act before the output projection; maps are drawn before the gate."


def most_moved(change: Comparison, count: int = 1) -> list[tuple[AttentionCall, int]]:
    """The heads whose attention moved most, first the one that moved most; none that did not move."""
    moved = [
        (float(distance), number, head)
        for number, diff in enumerate(change.patterns)
        for head, distance in enumerate(diff.moved)
        if distance > 1e-6
    ]
    first = sorted(moved, key=lambda one: (-one[0], one[1:]))[:count]
    return [(change.patterns[number].call, head) for _, number, head in first]


_DISTANCE = "total variation distance, 0 = the same, 1 = elsewhere altogether; mean over real queries"
# Of a first look: places with their answers, and layers up to which every head's move is drawn.
_FIRST_PLACES, _FIRST_TEXTS, _FEW_LAYERS, _NAMED = 1, 2, 12, 5


def _most_changed(places: Sequence[PlaceDiff]) -> list[PlaceDiff]:
    """The places whose answers changed most, in their order."""
    most = sorted(range(len(places)), key=lambda place: -(places[place].divergence or 0.0))[:_FIRST_PLACES]
    return [places[place] for place in sorted(most)]


def _moved(after: Trace, change: Comparison) -> list[Panel]:
    """How far attention moved: drawn where the layers that moved are few, else the heads that moved most in words."""
    matrices = moved_matrices(after, change.patterns)
    if not matrices or (len(matrices) == 1 and len(matrices[0].row_names) <= _FEW_LAYERS):
        return [*matrices]
    said = f"How far attention moved, {_DISTANCE}; {either('show(all=True)', '--all')} has every head:"
    return [Note(said, details=tuple(map(_farthest, matrices)))]


def _farthest(matrix: Matrix) -> str:
    """The heads of a stack whose attention moved farthest, in words."""
    order = np.argsort(-np.nan_to_num(matrix.values), axis=None, kind="stable")[:_NAMED]
    places = zip(*np.unravel_index(order, matrix.values.shape), strict=True)
    layers = [name.removeprefix("layer ") for name in matrix.row_names]
    named = ", ".join(f"{layers[row]}.{column} {matrix.values[row, column]:.2f}" for row, column in places)
    return f"{matrix.title.removeprefix('how far each ').partition('head')[0]}{named}"


def _place_table(trace: Trace, place: PlaceDiff, change: Comparison, names: Names) -> Table:
    score = change.kind is OutputKind.SCORE
    form, signed = ("{:.4f}", "{:+.4f}") if score else ("{:.1%}", "{:+.1%}")
    rows = tuple(
        (
            _name(change, one.index, names),
            form.format(one.before),
            form.format(one.after),
            signed.format(one.after - one.before),
        )
        for one in place.candidates
    )
    what = "score" if score else "token" if not change.labels else "class"
    caption = "" if score else f"the top {what} {'changes' if place.flipped else 'stays'}"
    if place.divergence is not None:
        caption = f"KL divergence {place.divergence:.4f} nats; {caption}"
    return Table(_place_title(trace, place, change), (what, "before>", "after>", "change>"), rows, caption)


def _place_title(trace: Trace, place: PlaceDiff, change: Comparison) -> str:
    side = trace.batch.decoder or trace.batch
    text = f"text {place.row + 1}, " if side.rows > 1 else ""
    if place.position < 0:
        return f"{text}{'score' if change.kind is OutputKind.SCORE else 'classes'}"
    token = f"{place.position} {side.tokens[place.row][place.position].strip()!r}"
    if change.kind is OutputKind.CAUSAL_LM:
        return f"{text}next token after {token}"
    return f"{text}prediction at {token}"


def _name(change: Comparison, index: int, names: Names) -> str:
    return change.labels[index] if index < len(change.labels) else names(index)


def _loss_table(losses: Sequence[LossDiff], kind: OutputKind | None) -> Table:
    rows = tuple(
        (
            str(loss.row + 1),
            str(loss.tokens),
            f"{loss.before:.4f}",
            f"{loss.after:.4f}",
            f"{loss.after - loss.before:+.4f}",
            f"{_perplexity(loss.before)} → {_perplexity(loss.after)}",
        )
        for loss in losses
    )
    what = "predicting each token from those before it"
    if kind is OutputKind.MASKED_LM:
        what = "naming each visible token in its place"
    columns = ("text>", "tokens>", "loss before>", "after>", "change>", "perplexity")
    return Table("loss of the text", columns, rows, f"nats per token, {what}")


def _perplexity(loss: float) -> str:
    return f"{math.exp(loss):,.2f}" if loss < 30 else f"1e{loss / math.log(10):.0f}"


def _hidden_table(hidden: Sequence[HiddenDiff]) -> Table:
    rows = tuple((str(one.row + 1), f"{one.cosine:.4f}", f"{one.relative_norm:.4f}") for one in hidden)
    return Table(
        "last hidden states",
        ("text>", "cosine>", "change of norm>"),
        rows,
        "mean over real tokens; the change is relative to the norm before",
    )


def moved_matrices(trace: Trace, patterns: tuple[PatternDiff, ...]) -> list[Matrix]:
    """How far each head's attention moved, one map for each stack."""
    matrices = []
    for stack in trace.stacks:
        of_stack = [diff for diff in patterns if diff.call.stack is stack]
        diffs = [diff for diff in of_stack if np.any(diff.moved != 0)]
        if not diffs:
            continue
        still = [diff.call.layer for diff in of_stack if not np.any(diff.moved != 0)]
        same = f"; layer{'s' if len(still) > 1 else ''} {ranges(still)}: nothing moved" if still else ""
        heads = max(diff.call.heads for diff in diffs)
        values = np.full((len(diffs), heads), np.nan, dtype=np.float32)
        for line, diff in enumerate(diffs):
            values[line, : diff.call.heads] = diff.moved
        name = f"{stack.value} " if len(trace.stacks) > 1 else ""
        matrices.append(
            Matrix(
                title=f"how far each {name}head's attention moved",
                caption=f"{_DISTANCE}{same}",
                values=values,
                row_names=tuple(f"layer {diff.call.layer}" for diff in diffs),
                column_names=tuple(str(head) for head in range(heads)),
                top=max(float(np.nanmax(values, initial=0.0)), 1e-3),
                unit="distance moved",
            )
        )
    return matrices


def _named(mask: HeadMask, stack: str, head: Head) -> str:
    return str(head) if len(mask.gates) == 1 else f"{stack} {head}"


def _listed(names: list[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
