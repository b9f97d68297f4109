"""A tiny model put to the trials of the atlas: padding on either side, packed texts, flash attention."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel

from maskviz.analyse.check import check
from maskviz.api.checking.case import examined_run
from maskviz.core.checks.case import Behaviour, Case, PaddedText
from maskviz.core.errors import MaskvizError
from maskviz.core.run.handover import HandedGroup, handed_groups
from maskviz.core.run.trace import Trace
from maskviz.core.words import Backend, Severity
from maskviz.core.writing import printable, ranges
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded, encode
from maskviz.load.texts.request import Request
from maskviz.tracing.backends.handing import hand_over
from maskviz.tracing.run import run
from tools.atlas.pictures import SIDE, kinds_of, rules_of, silent_of
from tools.comparing import described
from tools.tiny_models import BOXES, LENGTHS, TARGET_LENGTHS, rows

Answer = dict[str, Any]
# Rules of check that say a model is wrong about padding or about packed texts; others are about how a batch is made.
_OF_PADDING = ("P1", "P4", "P10", "P11", "L5", "L9", "L10")
_SHOWN = ("P1", "P10", "L9")
_OF_PACKING = ("K1",)


class NotMeasuredError(Exception):
    """A trial that the model gives no answer to; the message says why."""


def trials_of(model: PreTrainedModel, name: str) -> Answer:
    """What a tiny model of a type does in each trial; one that cannot be made says why under "problem"."""
    card = card_of(model.config, name, type(model).__name__)
    if "decoder_input_ids" not in inspect.signature(model.forward).parameters:
        card = replace(card, encoder_decoder=False)  # one half of such a model, which reads its ids as others do
    loaded = Loaded(model, None, card)
    trials: dict[str, Callable[[Loaded], Answer]] = {
        "alone": _alone,
        "left": lambda one: _padded(one, "left"),
        "right": lambda one: _padded(one, "right"),
        "packed": _packed,
        "flash": _flash,
    }
    answers = {trial: _asked(ask, loaded) for trial, ask in trials.items()}
    alone = set(answers["alone"].pop("rules", {}).values())
    for side in ("left", "right"):
        # Some models take another mask where a batch has padding at all.
        rules = answers[side].pop("rules", {})
        if others := sorted(said for said, rule in rules.items() if alone and rule not in alone):
            answers[side]["rules"] = others
    return answers


def _asked(ask: Callable[[Loaded], Answer], loaded: Loaded) -> Answer:
    try:
        return ask(loaded)
    except MaskvizError as error:
        return {"problem": printable(error.message)}
    except NotMeasuredError as error:
        return {"problem": str(error)}
    except Exception as error:  # what a model's own code raises
        return {"problem": printable(described(error))}


def _encoded(loaded: Loaded, request: Request) -> Encoded:
    """The inputs of a request, and boxes for a model that wants to know where on the page each token stands."""
    if loaded.card.encoder_decoder and not request.packed:
        lengths = TARGET_LENGTHS if len(request.ids) > 1 else (SIDE,)
        request = replace(request, target_ids=rows(lengths, seed=1))
    batch = encode(loaded, request)
    if loaded.card.name in BOXES:
        batch.inputs["bbox"] = torch.zeros(*batch.batch.ids.shape, 4, dtype=BOXES[loaded.card.name])
    return batch


def _run(loaded: Loaded, encoded: Encoded) -> Trace:
    return run(loaded.model, encoded.inputs, encoded.batch, loaded.card)


def _alone(loaded: Loaded) -> Answer:
    """The masks of one text without padding."""
    trace = _run(loaded, _encoded(loaded, Request(ids=rows((SIDE,), seed=0))))
    return {"kinds": kinds_of(trace), "silent": silent_of(trace), "rules": rules_of(trace)}


def _case(loaded: Loaded, encoded: Encoded) -> tuple[Case, Behaviour]:
    case = examined_run(None, loaded, encoded, _run(loaded, encoded)).case
    if case.run is None:
        raise NotMeasuredError("it was not run")
    return case, case.run


def _padded(loaded: Loaded, side: str) -> Answer:
    """Three texts, two of them padded on a side: how far the outputs of each are from those of the text alone."""
    case, behaviour = _case(loaded, _encoded(loaded, Request(ids=rows(LENGTHS, seed=0), padding_side=side)))
    if not behaviour.padded:
        raise NotMeasuredError(_why_not(behaviour, "P11"))
    limit = behaviour.noticeable
    alone = max(one.alone for one in behaviour.padded)
    counted = _least(behaviour.padded, limit)
    found = _found(case, _OF_PADDING)
    if any(one["rule"] in _SHOWN for one in found):
        verdict = "seen"
    elif alone <= limit:
        verdict = "same"
    elif counted is not None and counted <= limit:
        verdict = "positions"
    else:
        verdict = "moved"
    return {
        "verdict": verdict,
        "moved": _share(alone, behaviour),
        "counted": None if counted is None else _share(counted, behaviour),
        "found": found,
        "rules": rules_of(behaviour.trace),
    }


def _least(padded: Sequence[PaddedText], limit: float) -> float | None:
    """The largest difference that is left with positions that count real tokens; None where a text has none."""
    left = [one.counted if one.counted is not None else one.alone if one.alone <= limit else None for one in padded]
    return None if any(one is None for one in left) else max(one for one in left if one is not None)


def _share(moved: float, behaviour: Behaviour) -> float:
    """A difference as a share of the largest output, in two digits."""
    return float(f"{moved / max(behaviour.size, 1e-30):.1e}")


def _why_not(behaviour: Behaviour, rule: str) -> str:
    reasons = [one.reason for one in behaviour.unasked if rule in one.traps]
    return reasons[0] if reasons else "its outputs are not one for each token"


def _found(case: Case, rules: Sequence[str]) -> list[Answer]:
    """What `maskviz check` finds in a case, each rule once, notes left out."""
    found: dict[str, Answer] = {}
    for one in check(case):
        if one.severity is not Severity.NOTE and one.rule in rules:
            found.setdefault(one.rule, {"rule": one.rule, "says": printable(one.message)})
    return list(found.values())


def _packed(loaded: Loaded) -> Answer:
    """Two texts in one row, called as packing trainers should: positions restart, no mask, no cache."""
    request = Request(ids=rows((7, 9), seed=0), packed=True)
    cache = "without a cache"
    try:
        encoded = _encoded(loaded, replace(request, no_cache=True))
    except MaskvizError:
        encoded, cache = _encoded(loaded, request), ""
    case, behaviour = _case(loaded, encoded)
    if behaviour.crossing is None:
        raise NotMeasuredError("nothing was packed")
    moved = behaviour.crossed
    if not behaviour.crossing.separated:
        verdict = "seen"
    elif moved is None:
        raise NotMeasuredError(_why_not(behaviour, "K1"))
    else:
        verdict = "moved" if moved > behaviour.noticeable_alike else "apart"
    return {
        "verdict": verdict,
        "cells": behaviour.crossing.cells,
        "moved": None if moved is None else _share(moved, behaviour),
        "how": cache,
        "found": _found(case, _OF_PACKING),
    }


def _flash(loaded: Loaded) -> Answer:
    """What flash attention is handed for a padded batch, and which cells it then treats otherwise."""
    side = "right" if loaded.card.encoder_decoder else "left"
    encoded = _encoded(loaded, Request(ids=rows(LENGTHS, seed=0), padding_side=side))
    trace = _run(loaded, encoded)
    if not trace.calls:
        return {"verdict": "none"}
    over = hand_over(loaded.model, encoded.inputs, trace, Backend.FLASH)
    if over.refusal:
        return {"verdict": "refused", "why": printable(over.refusal)}
    groups = [_group(one, trace) for one in handed_groups(trace, over)]
    verdicts = {one["verdict"] for one in groups}
    verdict = next(one for one in ("other", "unknown", "byhand", "meant") if one in verdicts)
    if verdict == "byhand" and len(verdicts) > 1:
        verdict = "meant"
    return {"verdict": verdict, "groups": groups, "notes": [printable(one) for one in over.notes]}


def _group(one: HandedGroup, trace: Trace) -> Answer:
    if one.expressed is None:
        verdict = "byhand" if one.words.startswith("nothing:") else "unknown"
    else:
        verdict = "meant" if one.expressed else "other"
    return {
        "verdict": verdict,
        "stack": one.calls[0].stack.value,
        "layers": ranges(call.layer for call in one.calls),
        "words": printable(one.words),
        "added": len(one.added),
        "lost": len(one.lost),
        "cells": one.cells,
        "why": [printable(reason) for reason in one.why],
    }


__all__ = ["NotMeasuredError", "trials_of"]
