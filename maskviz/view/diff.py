"""The page of `maskviz diff`: what differs between two masks or two runs, where, and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskviz.core.errors import UsageError
from maskviz.core.panels.page import DiffGrid, Note, Page, Panel, Table, Token, Tone
from maskviz.core.results.diff import CellIn, MaskDiff, OutputChange, RunDiff
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import Trace
from maskviz.core.writing import plural, printable
from maskviz.view.choosing import Choice, axes_of, text_line, token_strips
from maskviz.view.heads.changes import Names, change_panels, moved_matrices
from maskviz.view.pictures import layer_words

# Pictures of masks that differ; more are listed in the table alone.
_MOST_PICTURES = 6


def diff_page(diff: RunDiff, choice: Choice, names: Names = str) -> Page:
    """Build the page: what A and B are, counts, reasons, pictures, and what changes in attention and outputs.

    Args:
        diff: The comparison.
        choice: The text that is drawn, and the title.
        names: The printable token an id stands for.

    Raises:
        UsageError: the choice names a text that is not there.
    """
    panels: list[Panel] = [Note(f"{printable(note)}.", Tone.WARNING) for note in (*diff.unpaired, *diff.notes)]
    differing = [mask for mask in diff.masks if mask.differs]
    if not diff.differs and diff.masks:
        panels.append(Note("They let through the same cells."))
    panels.append(_counts(diff))
    panels += [Note(sentence) for mask in differing for sentence in _reasons(diff, mask)]
    texts = max(len(mask.codes) for mask in diff.masks) if diff.masks else 1
    if choice.text is not None and choice.text > texts:
        raise UsageError(f"text {choice.text} does not exist", f"there are texts 1 to {texts}")
    rows = {_row(mask, choice) for mask in differing[:_MOST_PICTURES]}
    if diff.runs is not None and rows:
        panels += token_strips(diff.runs[0], sorted(rows))
    panels += [_picture(diff, mask, _row(mask, choice)) for mask in differing[:_MOST_PICTURES]]
    panels += _changes(diff, names)
    said_texts = () if diff.runs is None else diff.runs[0].batch.texts
    title = choice.title or text_line(said_texts) or "two masks"
    facts = {"A": diff.names[0], "B": diff.names[1], "text": " | ".join(said_texts)}
    said = {name: printable(fact) for name, fact in facts.items() if fact}
    subtitle = f"A is {printable(diff.names[0])}, B is {printable(diff.names[1])}"
    return Page(printable(title), subtitle, tuple(panels), said)


def _where(diff: RunDiff, mask: MaskDiff) -> str:
    """Which layers a mask is of, on both sides."""
    if diff.runs is None:
        return "masks"
    ours, theirs = (layer_words(run, calls) for run, calls in zip(diff.runs, (mask.calls_a, mask.calls_b), strict=True))
    return ours if ours == theirs else f"A {ours}, B {theirs}"


def _counts(diff: RunDiff) -> Table:
    rows = tuple(
        (
            _where(diff, mask),
            *(f"{mask.count(kind):,}" for kind in (CellIn.ONLY_A, CellIn.ONLY_B, CellIn.BOTH, CellIn.NEITHER)),
        )
        for mask in diff.masks
    )
    several = any(mask.codes.shape[1] > 1 for mask in diff.masks)
    caption = "on rows of real queries" if diff.runs is not None else ""
    if several:
        caption += f"{'; ' if caption else ''}cells of every head are counted"
    return Table("cells let through", ("", "only A>", "only B>", "both>", "neither>"), rows, caption)


def _reasons(diff: RunDiff, mask: MaskDiff) -> list[str]:
    """Why each side blocks what only the other lets through, and what attention falls on it."""
    said = []
    sides = (
        ("A", "B", CellIn.ONLY_A, mask.why_a, mask.mass_a, 1),
        ("B", "A", CellIn.ONLY_B, mask.why_b, mask.mass_b, 0),
    )
    for side, other, kind, why, mass, blocking in sides:
        count = mask.count(kind)
        if not count:
            continue
        sentence = f"{_where(diff, mask)}: only {side} lets through {plural(count, 'cell')}"
        if why:
            sentence += f"; {other} blocks {_listed(why, count)}"
        if mask.masks is not None and mask.masks[blocking].rule.readable:
            sentence += f" ({other}: {mask.masks[blocking].rule})"
        if mass is not None:
            sentence += f"; {mass:.1%} of {side}'s attention falls on them"
        said.append(f"{printable(sentence)}.")
    return said


def _listed(why: dict[Reason, int], count: int) -> str:
    if len(why) == 1 and next(iter(why.values())) == count:
        return f"{'it' if count == 1 else 'them'}: {next(iter(why)).word}"
    return ", ".join(f"{number:,} for {reason.word}" for reason, number in why.items())


def _row(mask: MaskDiff, choice: Choice) -> int:
    """The row that is drawn: the chosen text, else the first one that differs."""
    if choice.text is not None:
        return min(choice.text - 1, len(mask.codes) - 1)
    return int(_differing(mask).any(axis=(1, 2, 3)).argmax())


def _differing(mask: MaskDiff) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    kinds = np.isin(mask.codes, (CellIn.ONLY_A, CellIn.ONLY_B))
    return np.asarray(kinds & mask.real[:, None, :, None])


def _picture(diff: RunDiff, mask: MaskDiff, row: int) -> DiffGrid:
    head = int(_differing(mask)[row].any(axis=(1, 2)).argmax())
    queries, keys = _axes(diff, mask, row)
    where = _where(diff, mask)
    if len(mask.codes) > 1:
        where += f", text {row + 1}"
    if mask.codes.shape[1] > 1:
        where += f", head {head}"
    rules = ""
    if mask.masks is not None:
        ours, theirs = (printable(str(one.rule)) for one in mask.masks)
        rules = f"A: {ours}; B: {theirs}"
    return DiffGrid(where, rules, mask.codes[row, head], queries, keys, ~mask.real[row])


def _axes(diff: RunDiff, mask: MaskDiff, row: int) -> tuple[tuple[Token, ...], tuple[Token, ...]]:
    if diff.runs is not None:
        return axes_of(diff.runs[0], mask.calls_a[0], row)
    queries, keys = (tuple(Token(str(place), place=place) for place in range(count)) for count in mask.codes.shape[2:])
    return queries, keys


def _changes(diff: RunDiff, names: Names) -> list[Panel]:
    """What changes from A to B in outputs and attention."""
    panels: list[Panel] = []
    if diff.outputs is not None:
        panels.append(_outputs(diff.outputs))
    elif diff.runs is not None:
        panels.append(Note("There are no outputs to compare.", Tone.QUIET))
    if diff.change is None or diff.runs is None:
        return panels
    panels.append(Note("Before is A, after is B.", Tone.QUIET))
    after: Trace = diff.runs[1]
    if diff.change.kind is None:
        return [*panels, *moved_matrices(after, diff.change.patterns)]
    return [*panels, *change_panels(after, diff.change, names)]


def _outputs(change: OutputChange) -> Table:
    rows: Sequence[tuple[str, str]] = [("largest difference", f"{change.largest:.1e}")]
    if change.predictions:
        rows = [
            *rows,
            ("predictions that flipped", f"{change.flipped:,} of {change.predictions:,}"),
            ("KL divergence, mean", f"{change.mean_divergence:.1e} nats"),
            ("KL divergence, largest", f"{change.largest_divergence:.1e} nats"),
        ]
    return Table("outputs of plain runs, at real tokens", ("", "B beside A>"), tuple(rows))
