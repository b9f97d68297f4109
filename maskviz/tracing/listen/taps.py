"""The with-block that listens to a model's attention, and restores everything it touched.

Two taps hang in it. Models on transformers' attention interface are heard through the eager attention of their own
files (`interface`), under the masks transformers builds for it. Models that write their attention by hand are heard
by `handwritten`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.core.arrays import Content
from maskviz.core.rules.algebra import Rule, all_of
from maskviz.core.rules.kinds import Padding
from maskviz.tracing.doors import to_array
from maskviz.tracing.listen.blocks import blocks_heard
from maskviz.tracing.listen.dialect import Dialect
from maskviz.tracing.listen.handwritten import SoftmaxListener, module_path_hooks
from maskviz.tracing.listen.interface import eager_attention_heard
from maskviz.tracing.listen.recorder import Heard, Recorder
from maskviz.tracing.seam.experts import experts_passed_over
from maskviz.tracing.seam.implementation import evaluating, running
from maskviz.tracing.seam.mask_functions import rule_of
from maskviz.tracing.seam.masks import mask_functions_replaced, offsets_of, without_skips
from maskviz.tracing.seam.replacing import alone


@contextmanager
def listening(model: PreTrainedModel, recorder: Recorder) -> Iterator[None]:
    """Listen to every attention of a model while the block runs.

    Functions, registries, attention implementations, hooks and train/eval mode are as they were afterwards, also when
    the model raises. One thread listens at a time; what other threads and other models do meanwhile is not heard.
    """
    with alone(), ExitStack() as block:
        dialect = Dialect(model)  # before "eager" is put in place
        block.enter_context(evaluating(model))
        block.enter_context(running(model, "eager", experts=recorder.weightless))
        if recorder.weightless:
            block.enter_context(experts_passed_over(model))
        block.enter_context(
            mask_functions_replaced(model, ("eager", "sdpa"), lambda build: _mask_listener(recorder, build))
        )
        block.enter_context(eager_attention_heard(model, recorder, dialect))
        block.enter_context(module_path_hooks(model, recorder))
        block.enter_context(blocks_heard(model, recorder))
        block.enter_context(SoftmaxListener(recorder))
        yield


def _mask_listener(recorder: Recorder, build: Callable[..., Any]) -> Callable[..., Any]:
    def mask(**arguments: Any) -> Any:
        tensor = build(**without_skips(arguments))
        if isinstance(tensor, torch.Tensor) and not recorder.away:
            recorder.heard.append(Heard(tensor, rule_heard(arguments), *offsets_of(arguments)))
        return tensor

    return mask


def rule_heard(arguments: dict[str, Any]) -> Rule:
    """The rule of a mask, from what one of transformers' mask functions is called with."""
    rule = rule_of(arguments["mask_function"])
    keep = arguments.get("attention_mask")
    if keep is None or bool(keep.all()):
        return rule
    return all_of(rule, Padding(Content(to_array(keep), np.bool_)))
