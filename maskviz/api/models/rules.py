"""The rules of a model's layers at any length, from its config alone. Imports torch."""

from __future__ import annotations

from maskviz.analyse.likeness import NotComparableError, without_content
from maskviz.analyse.sparsity import mask_cost
from maskviz.api.models.layers import layers_of
from maskviz.api.runs.traced import left_out
from maskviz.core.errors import CannotTraceError
from maskviz.core.results.results import HeadSize, Ruled, RuledLayers
from maskviz.core.rules.algebra import Rule
from maskviz.core.rules.extents import Lengths
from maskviz.core.run.trace import CONTENT, AttentionCall, Trace
from maskviz.core.words import Stack
from maskviz.core.writing import parameter, plural, printable, ranges
from maskviz.load.models.card import card_of, head_width
from maskviz.load.models.model import build_model, read_config
from maskviz.load.models.source import Source
from maskviz.view.choosing import card_line
from maskviz.view.pictures import layer_words


def rules_of_model(source: Source, name: str, size: Lengths) -> Ruled:
    """Run a model without its weights and say what its layers' rules are for one text of real tokens.

    Args:
        source: Where the model is.
        name: As the user wrote it.
        size: Queries and keys of every attention.

    Raises:
        CannotTraceError: it cannot be run on tokens alone, or none of its rules can be told at this length.
    """
    config, raw = read_config(source)
    loaded = build_model(source, config, tokenizer=False)
    card = card_of(config, name, loaded.card.architecture)
    ran = layers_of(loaded, source, config, raw)
    longest = max(size.keys, size.offset + size.queries)
    if ran.until is not None and longest > ran.until:
        raise CannotTraceError(
            f"beyond {ran.until:,} tokens the config of {name!r} does not tell its masks",
            parameter("length", ran.until),
        )
    width = head_width(config)
    groups, untold = _rules(ran.trace)
    layers = []
    for (_, rule), calls in groups.items():
        words = layer_words(ran.trace, calls)
        cost = mask_cost(rule, size)
        if cost is None:
            untold.append(f"{words}: {rule} is not one run of keys for each query, and is not drawn at this length.")
            continue
        heads = None if width is None else HeadSize(calls[0].heads, width)
        layers.append(RuledLayers(words, len(calls), cost, heads))
    untold += _silent(ran.trace)
    if not layers:
        raise CannotTraceError(f"no mask of {name!r} can be told at this length: {' '.join(untold)}".rstrip(". "))
    notes = [f"As the model's own code makes them, run without weights on {plural(ran.trace.batch.length, 'token')}."]
    if card.positions is not None and longest > card.positions:
        notes.append(f"The config gives the model {card.positions:,} positions.")
    if width is None:
        notes.append("Operations are not counted: the config gives its heads no single width.")
    return Ruled(
        printable(name), card_line(card), tuple(layers), tuple(untold), (*loaded.notes, *left_out(loaded.model), *notes)
    )


def _rules(trace: Trace) -> tuple[dict[tuple[Stack, Rule], list[AttentionCall]], list[str]]:
    """The attentions of each stack and rule, and what cannot be told of others."""
    found: dict[tuple[Stack, Rule], list[AttentionCall]] = {}
    untold = []
    for mask, calls in trace.distinct_masks():
        try:
            rule = without_content(mask.rule)
        except NotComparableError as error:
            untold.append(f"{layer_words(trace, calls)}: {printable(str(error))}, and cannot be told at any length.")
            continue
        found.setdefault((calls[0].stack, rule), []).extend(calls)
    return found, untold


def _silent(trace: Trace) -> list[str]:
    """What layers without a mask are instead."""
    sentences = []
    kinds: dict[tuple[Stack, str], list[int]] = {}
    for layer in trace.silent:
        kinds.setdefault((layer.stack, layer.kind), []).append(layer.layer)
    for (stack, kind), numbers in kinds.items():
        words = f"layer{'s' if len(numbers) > 1 else ''} {ranges(numbers)}"
        words = f"{stack.value} {words}" if len(trace.stacks) > 1 else words
        what = f"no attention matrix but {kind}" if kind else "no attention was heard"
        what = f"the mask {kind}, which takes the weights" if kind == CONTENT else what
        sentences.append(f"{words}: {what}.")
    return sentences
