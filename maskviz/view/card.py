"""A model card in a line and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from maskviz.core.panels.page import Note, Page, Panel, Table, Tone
from maskviz.core.run.trace import ModelCard, Trace
from maskviz.core.writing import plural, printable
from maskviz.view.choosing import _size
from maskviz.view.masks.layers import disagreements, layer_tables


def info_page(
    card: ModelCard,
    trace: Trace,
    claims: tuple[Mapping[str, int], Mapping[str, int], str],
    likeness: Sequence[Panel] = (),
    notes: Sequence[str] = (),
) -> Page:
    """What a config says of a model, and the attention of its layers as a run without weights heard it.

    Args:
        card: What the config says.
        trace: The run.
        claims: Windows the config names and no layer has, in tokens, by name; numbers of the config that begin to block
            cells only in texts longer than the run; and what keeps the layers from having the former, in words.
        likeness: Whose masks look the same.
        notes: What is to know of the model that was built.
    """
    panels: list[Panel] = [_fact_table(card), *layer_tables(trace)]
    panels += [Note(note, Tone.WARNING) for note in (*notes, *disagreements(card, trace, *claims))]
    panels += likeness
    count = plural((trace.batch.decoder or trace.batch).length, "token")
    panels.append(Note(f"As the model's own code makes the masks, run without weights on {count}.", Tone.QUIET))
    return _info_page(card, panels)


def info_page_unrun(card: ModelCard, problem: str, notes: Sequence[str] = ()) -> Page:
    """What a config says of a model, and of the attention of its layers, where these could not be run; `notes` are what
    is to know of the model that was built."""
    return _info_page(
        card,
        [
            _fact_table(card),
            _layer_table(card),
            *_decoder_table(card),
            *(Note(note, Tone.WARNING) for note in notes),
            Note(f"The layers were not run: {printable(problem)}.", Tone.WARNING),
            Note("As the config words it. What a layer really sees is what 'maskviz show' traces.", Tone.QUIET),
        ],
    )


def _info_page(card: ModelCard, panels: list[Panel]) -> Page:
    return Page(
        printable(card.name), f"{card.architecture} · {_size(card)}", tuple(panels), {"model": printable(card.name)}
    )


def _fact_table(card: ModelCard) -> Table:
    return Table("", ("property", "value"), tuple((name, value) for name, value in _facts(card) if value))


def _facts(card: ModelCard) -> list[tuple[str, str]]:
    return [
        ("type", card.model_type),
        ("class", card.architecture),
        ("layers", " + ".join(map(str, card.layers))),
        ("heads", " + ".join(map(str, card.heads))),
        ("key heads", " + ".join(map(str, card.key_heads))),
        ("width", f"{card.hidden_size:,}" if card.hidden_size else ""),
        ("vocabulary", f"{card.vocabulary:,}" if card.vocabulary else ""),
        ("positions", f"{card.positions:,}" if card.positions else "not limited by the config"),
        ("note", card.note),
    ]


def _layer_table(card: ModelCard) -> Table:
    """Layers of the same kind in one row, in order."""
    rows = []
    for kind, group in groupby(enumerate(card.attention), key=lambda pair: pair[1]):
        numbers = [layer for layer, _ in group]
        span = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
        heads, key_heads = (str(counts[0]) if counts else "?" for counts in (card.heads, card.key_heads))
        rows.append((span, kind, heads, key_heads))
    title = "encoder layers" if card.encoder_decoder else "layers"
    return Table(title, _LAYER_COLUMNS, tuple(rows))


_LAYER_COLUMNS = ("layer>", "attention", "heads>", "key heads>")


def _decoder_table(card: ModelCard) -> list[Table]:
    """The decoder of an encoder-decoder, whose layers a config words with those of its encoder, if at all."""
    if not card.encoder_decoder or len(card.layers) < 2:
        return []
    count, kinds = card.layers[1], set(card.attention)
    heads, key_heads = (str(counts[1]) if len(counts) > 1 else "?" for counts in (card.heads, card.key_heads))
    span = "0" if count == 1 else f"0-{count - 1}"
    return [
        Table("decoder layers", _LAYER_COLUMNS, ((span, kinds.pop() if len(kinds) == 1 else "?", heads, key_heads),))
    ]
