"""Examples for the rules about what a model does, on runs made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from maskviz.core.arrays import BoolArray, Content
from maskviz.core.checks.case import Ablated, Behaviour, Case, GivenArray, PaddedText
from maskviz.core.rules.algebra import Everything, Opaque, all_of, any_of
from maskviz.core.rules.kinds import Causal, Chunk, Span, Window
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.handover import HandedGroup
from maskviz.core.run.trace import Crossing, Mask, SilentLayer
from maskviz.core.words import Backend, Dialect, Role, Stack
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
    with_trace,
)

_TEXT = rows("5 6 7 8", keep=("1111",))
_CAUSAL = run_of(Causal())
_NAN = float("nan")


def _model(run: Behaviour, **facts: Any) -> Case:
    return Case(batch=_TEXT, model=replace(DECODER, **facts), run=run)


def _windowed(size: int, claimed: int) -> Case:
    return _model(run_of(all_of(Causal(), Window(size))), windows={"sliding_window": claimed})


def _handed(words: str, added: list[tuple[int, int]], backend: Backend, why: Reason = Reason.WINDOW) -> Case:
    call = _CAUSAL.trace.calls[0]
    visible = np.array(call.mask.visible)
    for query, key in added:
        visible[0, 0, query, key] = True
    cells = np.array([(0, 0, query, key) for query, key in added], np.int64).reshape(-1, 4)
    mask = Mask.explained(visible, Everything())
    none = np.zeros((0, 4), np.int64)
    group = HandedGroup((call,), words, False, mask, cells, none, 16, why, (why.word,))
    return _model(replace(_CAUSAL, backend=backend, handed=(group,)))


def _claimed(name: str) -> Case:
    """A causal run whose rule could not be read, made by a function of this name."""
    call = _CAUSAL.trace.calls[0]
    mask = Mask.explained(call.mask.visible, Opaque("its own", claimed=name))
    return _model(replace(_CAUSAL, trace=replace(_CAUSAL.trace, calls=(replace(call, mask=mask),))))


def _array(visible: BoolArray) -> GivenArray:
    return GivenArray("mask.npy", visible, "bool", Dialect.SDPA, visible=visible)


_BLOCKS = np.tril(np.ones((4, 4), np.bool_)) & (np.arange(4)[:, None] // 2 == np.arange(4) // 2)
_WHOLE = np.tril(np.ones((4, 4), np.bool_))


def _replaced(run: Behaviour, plain: Behaviour) -> Case:
    array = _array(_WHOLE[None, None])
    return Case(batch=_TEXT, model=DECODER, run=replace(run, plain=plain.trace), array=array)


def _chunked(start: int) -> Case:
    chunks = Chunk(2, Content(np.array([start]), np.int64))
    run = run_of(all_of(Causal(), chunks, padding("01111")), keep=("01111",))
    return Case(batch=rows("0 5 6 7 8", keep=("01111",)), model=DECODER, run=run)


_TWO_IMAGES = (Role.IMAGE, Role.IMAGE, Role.TEXT, Role.IMAGE)
_ONE_IMAGE = (Role.IMAGE, Role.IMAGE, Role.IMAGE, Role.TEXT)


def _images(roles: tuple[Role, ...], *spans: int) -> Case:
    side = side_of(kept("1111"), (roles,))
    return Case(run=run_of(any_of(Causal(), Span(Content(np.array([spans]), np.int64))), batch=side), model=DECODER)


def _seq2seq(keys: str) -> Case:
    decoder, encoder = side_of(kept("111")), side_of(kept("1100"))
    rule = padding(keys)
    trace = replace(
        _CAUSAL.trace,
        batch=replace(encoder, decoder=decoder),
        calls=(call_of(rule, decoder, encoder, Stack.CROSS),),
    )
    batch = rows("5 6 0 0", keep=("1100",), decoder_ids=((5, 6, 7),), decoder_keep=((1, 1, 1),))
    return Case(batch=batch, model=ENCODER, run=Behaviour(trace))


def _recurrent(alone: float) -> Case:
    run = run_of(all_of(Causal(), padding("0011")), keep=("0011",), padded=(PaddedText(0, True, alone),))
    silent = (SilentLayer(Stack.DECODER, 1, "layers.1", "state space"),)
    return Case(batch=rows("0 0 5 6", keep=("0011",)), model=DECODER, run=with_trace(run, silent=silent))


def _packed(crossing: Crossing, backend: Backend | None = None) -> Case:
    side = replace(side_of(kept("1111")), documents=np.array([[0, 0, 1, 1]]))
    return Case(model=DECODER, run=run_of(Causal(), batch=side, crossing=crossing, backend=backend))


def _packed_under_flash(added: list[tuple[int, int]]) -> Case:
    case = _packed(Crossing(0, ()), Backend.FLASH)
    handed = _handed("no mask, causal=True", added, Backend.FLASH, Reason.DOCUMENT).run
    assert case.run is not None and handed is not None
    return replace(case, run=replace(case.run, handed=handed.handed))


def _ablated(right: float, after: float | None, in_turn: float | None) -> Case:
    return Case(ablated=Ablated("out.npy", "0:3", right, 2.0, after, in_turn, 1e-3))


EXAMPLES = (
    Example("N2", "other outputs", _model(with_trace(_CAUSAL, drift=0.2)), _model(with_trace(_CAUSAL, drift=1e-5))),
    Example(
        "N2",
        "16 bits round",
        _model(with_trace(_CAUSAL, drift=0.2)),
        _model(replace(with_trace(_CAUSAL, drift=0.2), rounds=True)),
    ),
    Example("N2", "no numbers", _model(with_trace(_CAUSAL, drift=_NAN)), _model(with_trace(_CAUSAL, drift=None))),
    Example(
        "N5",
        "asked for and not given",
        _model(replace(_CAUSAL, weights=False), asks_weights=True),
        _model(replace(_CAUSAL, weights=True), asks_weights=True),
    ),
    Example("N6", "padding is NaN", _model(replace(with_trace(_CAUSAL, drift=_NAN), broken=(0,))), _model(_CAUSAL)),
    Example(
        "L1",
        "earlier outputs move",
        _model(replace(_CAUSAL, earlier=0.3)),
        _model(replace(_CAUSAL, earlier=1e-6)),
    ),
    Example(
        "L1",
        "an encoder may",
        _model(run_of(Everything(), earlier=0.3)),
        Case(batch=_TEXT, model=ENCODER, run=run_of(Everything(), earlier=0.3)),
    ),
    Example("L2", "one key too many", _windowed(4, 3), _windowed(3, 3)),
    Example("L2", "one key too few", _windowed(2, 3), _windowed(2, 8)),
    Example(
        "L2",
        "the backend's window",
        _handed("no mask, causal=True, window_size=(1, 0)", [(0, 2), (1, 3)], Backend.FLASH),
        _handed("no mask, causal=True", [], Backend.FLASH),
    ),
    Example(
        "L3",
        "the window is gone",
        _replaced(run_of(Causal()), run_of(all_of(Causal(), Window(2)))),
        _replaced(run_of(all_of(Causal(), Window(2))), run_of(all_of(Causal(), Window(2)))),
    ),
    Example(
        "L4",
        "full layers that slide",
        _model(run_of(Causal(), all_of(Causal(), Window(2))), layer_types=("full_attention", "full_attention")),
        _model(run_of(Causal(), all_of(Causal(), Window(2))), layer_types=("full_attention", "sliding_attention")),
    ),
    Example(
        "L4",
        "sliding layers that do not",
        _model(run_of(Causal()), layer_types=("sliding_attention",), windows={"sliding_window": 3}),
        _model(run_of(Causal()), layer_types=("sliding_attention",), windows={"sliding_window": 4}),
    ),
    Example(
        "L4",
        "under a mask of the user's own",
        _model(
            replace(_CAUSAL, plain=_CAUSAL.trace), layer_types=("sliding_attention",), windows={"sliding_window": 3}
        ),
        _model(
            replace(_CAUSAL, plain=run_of(all_of(Causal(), Window(3))).trace),
            layer_types=("sliding_attention",),
            windows={"sliding_window": 3},
        ),
    ),
    Example(
        "L4",
        "a window that is switched off",
        _model(run_of(all_of(Causal(), Window(2))), use_sliding_window=False),
        _model(run_of(Causal()), use_sliding_window=False, windows={"sliding_window": 9}),
    ),
    Example("L5", "chunks counted from the padding", _chunked(0), _chunked(1)),
    Example("L6", "a later image", _images(_TWO_IMAGES, 0, 0, -1, 0), _images(_TWO_IMAGES, 0, 0, -1, 1)),
    Example("L6", "a part of it", _images(_ONE_IMAGE, 0, 0, -1, -1), _images(_ONE_IMAGE, 0, 0, 0, -1)),
    Example(
        "L7",
        "flash forgets the document",
        _handed("no mask, causal=True", [(0, 2), (0, 3)], Backend.FLASH, Reason.DOCUMENT),
        _handed("no mask, causal=True", [], Backend.FLASH, Reason.DOCUMENT),
    ),
    Example(
        "L8",
        "one registry of two",
        _model(_CAUSAL, implementation="mine", mask_registered=False),
        _model(_CAUSAL, implementation="mine"),
    ),
    Example("L9", "the encoder's padding", _seq2seq("1111"), _seq2seq("1100")),
    Example("L10", "padding is carried on", _recurrent(0.4), _recurrent(1e-6)),
    Example(
        "L11",
        "no mask for padding",
        _handed("no mask, is_causal=True", [(0, 2), (0, 3)], Backend.SDPA, Reason.PADDING),
        _handed("no mask, is_causal=True", [], Backend.SDPA, Reason.PADDING),
    ),
    Example("L12", "another window under a window's name", _claimed("window(3)"), _claimed("")),
    Example("K1", "texts see each other", _packed(Crossing(4, (0.0, 0.6))), _packed(Crossing(0, (0.0, 0.0)))),
    Example(
        "K2",
        "positions run on",
        Case(array=_array(_BLOCKS[None, None]), batch=rows("5 6 7 8", position_ids=((0, 1, 2, 3),))),
        Case(array=_array(_BLOCKS[None, None]), batch=rows("5 6 7 8", position_ids=((0, 1, 0, 1),))),
    ),
    Example(
        "K2",
        "one text",
        Case(array=_array(_BLOCKS[None, None]), batch=rows("5 6 7 8")),
        Case(array=_array(_WHOLE[None, None]), batch=rows("5 6 7 8")),
    ),
    Example(
        "K3",
        "flash",
        _packed_under_flash([(2, 0), (3, 1)]),
        _packed_under_flash([]),
        ("L7",),
    ),
    Example("H1", "behind the projection", _ablated(0.4, 1e-6, None), _ablated(1e-6, 0.4, None)),
    Example("H1", "another mistake", _ablated(0.4, 1e-6, 0.5), _ablated(0.4, 0.3, None)),
    Example("H3", "heads in turn", _ablated(0.4, 0.5, 1e-6), _ablated(1e-6, 0.5, 0.4)),
)
