"""Examples for the rules about padding, on rows made by hand."""

from __future__ import annotations

from dataclasses import replace

from maskviz.core.checks.case import Case, PaddedText
from maskviz.core.rules.algebra import all_of
from maskviz.core.rules.kinds import Causal
from maskviz.core.words import Backend, Purpose
from tests.analyse.lints.cases import DECODER, ENCODER, Example, padding, rows, run_of

BROKEN = Case(
    batch=rows(
        "5 6 0 0",
        "5 6 7 8",
        "5 6 7 0",
        keep=("1100", "0000", "1010"),
        labels=((-100, 6, 7, -100), None, (5, 6, 7, 8)),
    )
)
_CAUSAL = all_of(Causal(), padding("1100"))
_FLASH = run_of(_CAUSAL, keep=("1100",), backend=Backend.FLASH)


def _left(alone: float, counted: float | None, masked: float | None = None) -> Case:
    run = run_of(all_of(Causal(), padding("0011")), keep=("0011",))
    one = PaddedText(0, True, alone, masked, counted)
    return Case(batch=rows("0 0 5 6", keep=("0011",)), model=DECODER, run=replace(run, padded=(one,)))


EXAMPLES = (
    Example("P1", "no mask", Case(batch=rows("5 6 0 0")), Case(batch=rows("5 6 0 0", keep=("1100",)))),
    Example(
        "P1", "a mask of ones", Case(batch=rows("5 6 0 0", keep=("1111",))), Case(batch=rows("5 0 6 7", keep=("1111",)))
    ),
    Example(
        "T1",
        "a row's mask",
        Case(batch=rows("5 6 7 0 0", keep=("00011",))),
        Case(batch=rows("5 6 7 0 0", keep=("11100",))),
    ),
    Example("P1", "no padding id", Case(batch=rows("0 5 6 7")), Case(batch=rows("0 5 6 7", pad_id=None))),
    Example(
        "P2",
        "the end of a text has no label",
        Case(batch=rows("5 6 2 2", keep=("1110",), labels=((5, 6, -100, -100),), pad_id=2)),
        Case(batch=rows("5 6 2 2", keep=("1110",), labels=((5, 6, 2, -100),), pad_id=2)),
    ),
    Example(
        "P2",
        "a prompt without labels",
        Case(batch=rows("5 2 6 2", keep=("1111",), labels=((-100, -100, 6, -100),), pad_id=2)),
        Case(batch=rows("5 2 6 2", keep=("1111",), labels=((-100, -100, 6, 2),), pad_id=2)),
    ),
    Example(
        "P3",
        "a decoder padded on the right",
        Case(batch=rows("5 6 0 0", keep=("1100",)), model=DECODER),
        Case(batch=rows("5 6 0 0", keep=("1100",)), model=ENCODER),
    ),
    Example(
        "P3",
        "run forward only",
        Case(batch=rows("5 6 0 0", keep=("1100",)), model=DECODER, purpose=Purpose.GENERATE),
        Case(batch=rows("5 6 0 0", keep=("1100",)), model=DECODER, purpose=Purpose.FORWARD),
    ),
    Example(
        "P3",
        "in training",
        Case(batch=rows("5 6 0 0", keep=("1100",)), model=DECODER),
        Case(batch=rows("5 6 0 0", keep=("1100",), labels=((5, 6, -100, -100),)), model=DECODER),
    ),
    Example("P4", "positions put it right", _left(1.5, 1e-6), _left(1e-5, 1e-6)),
    Example("P4", "under a mask too", _left(1.5, 1e-6, masked=1.5), _left(1e-5, None)),
    Example("P11", "positions do not help", _left(1.5, 1.5), _left(1e-5, 1e-5)),
    Example("P11", "there are no positions", _left(1.5, None), _left(1e-5, None)),
    Example("P4", "no mask either", _left(2.0, 1e-6, masked=1.5), _left(2.0, 1e-6, masked=1e-6)),
    Example(
        "P5",
        "labels on padding",
        Case(batch=rows("5 6 0 0", keep=("1100",), labels=((5, 6, -100, 0),))),
        Case(batch=rows("5 6 0 0", keep=("1100",), labels=((5, 6, -100, -100),))),
    ),
    Example(
        "P6", "nothing kept", Case(batch=rows("5 6", "5 6", keep=("00", "11"))), Case(batch=rows("5 6", keep=("10",)))
    ),
    Example("P7", "too short", Case(batch=rows("5 6 7", keep=("1",))), Case(batch=rows("5 6 7", keep=("111",)))),
    Example(
        "P7",
        "the decoder's",
        Case(batch=rows("5 6", keep=("11",), decoder_ids=((5, 6, 7),), decoder_keep=((1, 1),))),
        Case(batch=rows("5 6", keep=("11",), decoder_ids=((5, 6, 7),), decoder_keep=((1, 1, 1),))),
    ),
    Example("P7", "a hole", Case(batch=rows("5 6 7", keep=("101",))), Case(batch=rows("5 6 7", keep=("011",)))),
    Example(
        "P8",
        "a mask without specials",
        Case(batch=rows("1 5 6 2", keep=("11",), specials=2)),
        Case(batch=rows("1 5 6 2", keep=("1111",), specials=2)),
    ),
    Example(
        "P8",
        "labels without specials",
        Case(batch=rows("1 5 6 2", keep=("1111",), labels=((5, 6),), specials=2)),
        Case(batch=rows("1 5 6 2", keep=("1111",), labels=((-100, 5, 6, -100),), specials=2)),
    ),
    Example(
        "P9",
        "flash with a cache",
        Case(batch=rows("5 6 0 0", keep=("1100",), labels=((5, 6, -100, -100),)), model=DECODER, run=_FLASH),
        Case(batch=rows("5 6 0 0", keep=("1100",)), model=DECODER, run=_FLASH, purpose=Purpose.FORWARD),
    ),
)
