"""Examples for the rules that read what runs measured, on runs made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from maskviz.core.arrays import BoolArray, Content
from maskviz.core.checks.case import Behaviour, Case, GivenArray, PaddedText, Tried
from maskviz.core.rules.algebra import Everything, all_of
from maskviz.core.rules.kinds import Causal, UserMask, Window
from maskviz.core.run.trace import Crossing
from maskviz.core.words import Dialect, Stack
from tests.analyse.lints.cases import (
    DECODER,
    ENCODER,
    Example,
    call_of,
    kept,
    padding,
    rows,
    run_of,
    side_of,
)

_PADDED = rows("5 6 0 0", keep=("1100",))
_TEXT = rows("5 6 7 8", keep=("1111",))
_CAUSAL = run_of(Causal())


def _array(visible: BoolArray) -> GivenArray:
    return GivenArray("mask.npy", visible, "bool", Dialect.SDPA, visible=visible)


def _seen(run: Behaviour, model: str = "") -> Case:
    facts = replace(ENCODER, reads=("input_ids",)) if model == "takes no mask" else ENCODER
    return Case(batch=_PADDED, model=facts, run=run)


_SHOWN = run_of(Everything(), keep=("1100",))
_HIDDEN = run_of(padding("1100"), keep=("1100",))
_OWN = replace(_SHOWN, plain=_HIDDEN.trace, padded=(PaddedText(0, False, 0.9, masked=1e-6),))


def _leaking(earlier: float, *tried: Tried, own: bool = False) -> Case:
    run = run_of(Everything() if own else Causal(), earlier=earlier, earlier_with=tried)
    return Case(batch=_TEXT, model=DECODER, run=replace(run, plain=_CAUSAL.trace) if own else run)


def _of_decoder(earlier: float) -> Case:
    decoder, encoder = side_of(kept("111")), side_of(kept("1111"))
    trace = replace(
        _CAUSAL.trace,
        batch=replace(encoder, decoder=decoder),
        calls=(call_of(Everything(), decoder, decoder, Stack.DECODER),),
    )
    return Case(model=ENCODER, run=Behaviour(trace, earlier=earlier))


_TREE = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]], np.bool_)[None, None]


def _tree(positions: tuple[int, ...] | None, visible: BoolArray = _TREE, counted: float | None = None) -> Case:
    batch = rows("5 6 7 8", keep=("1111",), position_ids=(positions,))
    return Case(batch=batch, array=_array(visible), run=None if counted is None else run_of(Causal(), counted=counted))


def _packed(crossed: float | None, crossing: Crossing) -> Case:
    side = replace(side_of(kept("1111")), documents=np.array([[0, 0, 1, 1]]))
    return Case(model=DECODER, run=run_of(Causal(), batch=side, crossing=crossing, crossed=crossed))


def _windowed(**facts: object) -> Case:
    return Case(model=replace(DECODER, unused={"sliding_window": 4}, **facts))  # type: ignore[arg-type]


_BELOW = np.tril(np.ones((4, 4), np.bool_), -1) | (np.arange(4) == 0)


def _own_keys(cells: BoolArray) -> Case:
    run = run_of(UserMask(Content(cells[None, None], np.bool_)))
    return Case(batch=_TEXT, run=replace(run, plain=_CAUSAL.trace), array=_array(cells[None, None]))


_UPPER = np.triu(np.ones((1, 1, 4, 4), np.bool_))
_KEPT = kept("1110", "1111")
_OF_TWO = run_of(padding("1110", "1111"), keep=("1110", "1111"))
_WINDOW = all_of(Causal(), Window(2))

EXAMPLES = (
    Example("P10", "a model that ignores its mask", _seen(_SHOWN), _seen(_HIDDEN)),
    Example("P10", "a mask of the user's own", _seen(_OWN), _seen(replace(_HIDDEN, plain=_HIDDEN.trace))),
    Example("P10", "a class that takes none", _seen(_SHOWN, "takes no mask"), _seen(_HIDDEN), also=("B5",)),
    Example(
        "P10",
        "rows of other lengths",
        Case(batch=rows("5 6", "5 6 7 8"), run=run_of(Everything(), keep=("1100", "1111"))),
        Case(batch=rows("5 6", "5 6 7 8"), run=run_of(padding("1100", "1111"), keep=("1100", "1111"))),
    ),
    Example(
        "L1", "the mask is to blame", _leaking(0.3, Tried("mask & causal", 0.0), own=True), _leaking(0.0, own=True)
    ),
    Example("L1", "the decoder of two", _of_decoder(0.3), _of_decoder(0.0)),
    Example(
        "L1",
        "that is not what is meant",
        replace(_leaking(0.3, own=True), meant=Causal()),
        replace(_leaking(0.3, own=True), meant=Everything()),
        also=("T11",),
    ),
    Example("P12", "branches run on", _tree((0, 1, 2, 3)), _tree((0, 1, 2, 2))),
    Example("P12", "none are passed", _tree(None), _tree((5, 6, 7, 7))),
    Example("P12", "and that matters", _tree(None, counted=0.5), _tree(None, counted=0.0)),
    Example(
        "P12",
        "windows are no trees",
        _tree(None),
        _tree(None, visible=np.tril(np.triu(np.ones((1, 1, 4, 4), np.bool_), -1))),
    ),
    Example("P13", "the diagonal is gone", _own_keys(_BELOW), _own_keys(np.tril(np.ones((4, 4), np.bool_)))),
    Example("T13", "an upper triangle", Case(array=_array(_UPPER)), Case(array=_array(_UPPER.swapaxes(2, 3)))),
    Example(
        "T13",
        "padding along the queries",
        Case(array=_array(np.broadcast_to(_KEPT[:, None, :, None], (2, 1, 4, 4))), run=_OF_TWO),
        Case(array=_array(np.broadcast_to(_KEPT[:, None, None, :], (2, 1, 4, 4))), run=_OF_TWO),
        also=("N1",),
    ),
    Example("K1", "by another way than masks", _packed(0.5, Crossing(0, ())), _packed(0.0, Crossing(0, ()))),
    Example(
        "L13",
        "the config says nothing",
        _windowed(unused_by="max_window_layers is 28"),
        _windowed(use_sliding_window=False),
    ),
    Example(
        "L13", "the code does not read it", _windowed(), Case(model=replace(DECODER, windows={"sliding_window": 4}))
    ),
    Example(
        "T11",
        "in a run",
        Case(batch=_TEXT, model=ENCODER, run=_CAUSAL, meant=_WINDOW),
        Case(batch=_TEXT, model=ENCODER, run=run_of(_WINDOW), meant=_WINDOW),
    ),
    Example(
        "T11",
        "in a file",
        Case(array=_array(np.tril(np.ones((1, 1, 4, 4), np.bool_))), meant=_WINDOW),
        Case(array=_array(np.tril(np.ones((1, 1, 4, 4), np.bool_))), meant=Causal()),
    ),
)
