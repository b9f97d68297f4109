"""A model written without its silenced heads, as a table of what that saves and notes on what to know."""

from __future__ import annotations

from maskviz.core.panels.page import Note, Panel, Table, Tone
from maskviz.core.results.export import Cost, Export, Speed, Spread
from maskviz.core.writing import plural, printable


def export_panels(export: Export) -> list[Panel]:
    """What was written and how to load it, what it takes before and after, and what the reader must know."""
    trust = ", trust_remote_code=True" if export.needs_trust else ""
    written = (
        f"{plural(export.removed, 'head')} of {sum(one.heads for one in export.kept)} removed; the folder loads by "
        f"from_pretrained({str(export.folder)!r}{trust}) as {export.architecture}."
    )
    checked = (
        f"Loaded back, its outputs differ from the masked model's by at most {export.difference:.1e} "
        f"(outputs up to {export.output_size:.2g})."
    )
    return [
        Note(printable(written)),
        Table("before and after", ("", "before>", "after>", "after / before>"), _rows(export), _caption(export)),
        Note(checked),
        *(Note(printable(note), Tone.WARNING) for note in export.notes),
    ]


def _rows(export: Export) -> tuple[tuple[str, ...], ...]:
    before, after = export.saving.before, export.saving.after
    return (
        _counted("parameters", before.parameters, after.parameters),
        _counted("in attention projections", before.attention_parameters, after.attention_parameters),
        _counted(f"operations per token at {export.saving.length} tokens", _operations(before), _operations(after)),
        _counted("bytes of the weights", before.weight_bytes, after.weight_bytes),
        *(_timed(speed) for speed in export.saving.speeds),
    )


def _operations(cost: Cost) -> int:
    return round(cost.flops_per_token)


def _counted(what: str, before: int, after: int) -> tuple[str, ...]:
    return what, f"{before:,}", f"{after:,}", f"{after / before:.3f}"


def _timed(speed: Speed) -> tuple[str, ...]:
    what = f"ms for {plural(speed.batch, 'text')} of {speed.length} tokens"
    return what, _spread(speed.before, 1), _spread(speed.after, 1), _spread(speed.ratio, 3)


def _spread(one: Spread, digits: int) -> str:
    return f"{one.median:.{digits}f} ({one.low:.{digits}f}-{one.high:.{digits}f})"


def _caption(export: Export) -> str:
    files = f"weight files: {export.file_bytes:,} bytes"
    if not export.saving.speeds:
        return files
    rounds = ", ".join(str(speed.rounds) for speed in export.saving.speeds)
    return f"{files}; times: median (quartiles) of {rounds} rounds, both models in turn in each"
