"""Examples for the rules about what a batch holds beside its masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from maskviz.core.checks.case import Case, ModelFacts
from tests.analyse.lints.cases import DECODER, ENCODER, Example, rows

READS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "labels")
MODEL = replace(DECODER, reads=READS, classes=50)
TAGGER = ModelFacts("BertForTokenClassification", "sdpa", reads=READS, classes=3)
CLASSIFIER = ModelFacts("BertForSequenceClassification", "sdpa", reads=READS, text_classes=3)
SEQ2SEQ = ModelFacts("BartForConditionalGeneration", "sdpa", reads=(*READS, "decoder_input_ids"), classes=50)
_IDS = "1 5 6 7"


def _labels(*labels: int, model: ModelFacts = MODEL, **more: Any) -> Case:
    return Case(batch=rows(_IDS, keep=("1111",), labels=(labels,), **more), model=model)


def _parts(*others: str, **more: Any) -> Case:
    return Case(batch=rows(_IDS, keep=("1111",), others=others, **more), model=MODEL)


EXAMPLES = (
    Example("B1", "too few", _labels(5, 6, 7), _labels(1, 5, 6, 7)),
    Example("B1", "too many", _labels(1, 5, 6, 7, 8), _labels(5, 6, 7, model=SEQ2SEQ)),
    Example(
        "B1",
        "of the decoder's tokens",
        _labels(5, 6, 7, model=SEQ2SEQ, decoder_ids=((0, 5),)),
        _labels(5, 6, model=SEQ2SEQ, decoder_ids=((0, 5),)),
    ),
    Example("B2", "outside the vocabulary", _labels(1, 5, 50, 7), _labels(1, 5, 49, 7)),
    Example("B2", "negative and not -100", _labels(1, -1, 6, 7), _labels(1, -100, 6, 7)),
    Example("B2", "no class of a token", _labels(0, 1, 3, -100, model=TAGGER), _labels(0, 1, 2, -100, model=TAGGER)),
    Example("B2", "classes are not known", _labels(0, -2, 3, 9, model=ENCODER), _labels(0, 1, 99, 7, model=ENCODER)),
    Example("B8", "the next tokens", _labels(5, 6, 7, -100), _labels(1, 5, 6, 7)),
    Example(
        "B8",
        "behind the padding of its ids",
        Case(batch=rows("0 0 5 6 7", keep=("00111",), labels=((5, 6, 7, -100, -100),)), model=MODEL),
        Case(batch=rows("0 0 5 6 7", keep=("00111",), labels=((-100, -100, 5, 6, 7),)), model=MODEL),
        also=("P5",),
    ),
    Example(
        "B8",
        "with an end that meets padding",
        Case(batch=rows("5 6 7 8 0", keep=("11110",), labels=((6, 7, 8, 2, -100),)), model=MODEL),
        Case(batch=rows("5 6 7 8 0", keep=("11110",), labels=((5, 6, 7, 8, -100),)), model=MODEL),
    ),
    Example(
        "B9",
        "not shifted",
        _labels(5, 6, 7, 2, model=SEQ2SEQ, decoder_ids=((5, 6, 7, 2),)),
        _labels(5, 6, 7, 2, model=SEQ2SEQ, decoder_ids=((0, 5, 6, 7),)),
    ),
    Example(
        "B2",
        "no class of a text",
        Case(batch=rows(_IDS, text_labels=(3.0,)), model=CLASSIFIER),
        Case(batch=rows(_IDS, text_labels=(2.0,)), model=CLASSIFIER),
    ),
    Example("B8", "two may be chance", _labels(5, 6, 7, 2), _labels(-100, 6, 7, 2)),
    Example("B3", "none left", _labels(-100, -100, -100, -100), _labels(-100, -100, -100, 7)),
    Example(
        "B3",
        "the first token's alone",
        _labels(1, -100, -100, -100),
        _labels(1, -100, -100, -100, model=TAGGER),
    ),
    Example(
        "B3",
        "one row of two, for a model whose loss is of every row",
        Case(batch=rows("5 6", "5 6", labels=((-100, -100), (5, 6))), model=MODEL),
        Case(batch=rows("5 6", "5 6", labels=((-100, -100), (5, 6))), model=ENCODER),
    ),
    Example(
        "B4",
        "no assistant",
        _labels(-100, -100, 6, 7, assistant=((0, 0, 0, 0),)),
        _labels(-100, -100, 6, 7, assistant=((0, 0, 1, 1),)),
    ),
    Example("B5", "one letter off", _parts("attention_masks"), _parts("special_tokens_mask")),
    Example("B5", "handed on", _parts("loss_weights"), _parts("cu_seq_lens_q")),
    Example(
        "B5",
        "what an assistant wrote",
        _parts("assistant_masks", assistant=((0, 0, 1, 1),)),
        _labels(-100, -100, 6, 7, others=("assistant_masks",), assistant=((0, 0, 1, 1),)),
    ),
    Example(
        "B5",
        "a part the class does not take",
        Case(
            batch=rows(_IDS, keep=("1111",), token_types=((0, 0, 1, 1),)),
            model=replace(MODEL, reads=("input_ids", "attention_mask")),
        ),
        Case(batch=rows(_IDS, keep=("1111",), token_types=((0, 0, 1, 1),)), model=MODEL),
    ),
    Example(
        "B6",
        "ids",
        Case(batch=rows("1 1 0 1", pad_id=None, booleans=("input_ids",))),
        Case(batch=rows("1 1 0 1", pad_id=None)),
    ),
    Example(
        "T12",
        "offsets in a row",
        Case(batch=rows(_IDS, offsets=(("cu_seq_lens_q", (0, 2, 3)),)), model=MODEL),
        Case(batch=rows(_IDS, offsets=(("cu_seq_lens_q", (0, 2, 4)),)), model=MODEL),
    ),
    Example(
        "B7",
        "behind padding",
        Case(batch=rows("0 1 1 5", keep=("0111",), first_id=1)),
        Case(batch=rows("0 1 5 1", keep=("0111",), first_id=1)),
    ),
)
