"""What a model takes, and how fast two of them run side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from maskviz.core.arrays import IntArray
from maskviz.core.results.export import Cost, Saving, Speed, Spread
from maskviz.core.run.trace import Batch, Trace
from maskviz.tracing.seam.implementations import running

_BATCHES = (1, 16)
_FEWEST_ROUNDS, _MOST_ROUNDS = 5, 25


def filled(model: PreTrainedModel, plain: Trace, rows: int, length: int) -> dict[str, Any]:
    """Inputs of a size: the real tokens of a run's texts, again and again, without padding.

    Returns:
        `input_ids` and `attention_mask`, int64 [rows, length], and `decoder_input_ids` where the model has a decoder.
    """
    sides = {"": plain.batch} if plain.batch.decoder is None else {"": plain.batch, "decoder_": plain.batch.decoder}
    inputs = {
        f"{prefix}input_ids": torch.tensor(_repeated(side, rows, length), device=model.device)
        for prefix, side in sides.items()
    }
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    return inputs


def _repeated(side: Batch, rows: int, length: int) -> IntArray:
    return np.resize(side.ids[side.keep], (rows, length))


def saving(
    before: PreTrainedModel,
    after: PreTrainedModel,
    projections: Sequence[str],
    plain: Trace,
    length: int,
    seconds: float,
) -> Saving:
    """Count what two models take, and time them at batch 1 and 16.

    Args:
        before, after: The models, on one device.
        projections: Paths of the attention projections, the same in both.
        plain: A run, whose texts fill the inputs.
        length: Tokens of each text.
        seconds: About how long to measure each batch size; 0 measures none.
    """
    one_text = filled(before, plain, 1, length)
    batches = _BATCHES if seconds else ()
    return Saving(
        length,
        cost(before, projections, one_text),
        cost(after, projections, one_text),
        tuple(measured(before, after, filled(before, plain, rows, length), seconds) for rows in batches),
    )


def cost(model: PreTrainedModel, projections: Sequence[str], one_text: dict[str, Any]) -> Cost:
    """Count what a model takes.

    The operations are those of one forward as torch's own counter (`FlopCounterMode`) finds them with eager attention:
    2 for each multiplication of a matrix product and its addition. For a model of linear layers that is, for each
    token, 2 x the weights of its matrices (the output embedding among them) + 2 x 2 x length x head size for each
    head: its scores, and the mixing of its values. Masked cells count as others do.

    Args:
        model: The model.
        projections: Paths of its attention projections.
        one_text: Inputs of one row, as `filled` returns them.
    """
    parameters = list(model.parameters())
    of_attention = [parameter for path in projections for parameter in model.get_submodule(path).parameters()]
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), running(model, "eager"), counter:
        model(**one_text)
    return Cost(
        parameters=sum(parameter.numel() for parameter in parameters),
        attention_parameters=sum(parameter.numel() for parameter in of_attention),
        flops_per_token=counter.get_total_flops() / one_text["input_ids"].shape[1],
        weight_bytes=sum(parameter.numel() * parameter.element_size() for parameter in parameters),
    )


def measured(before: PreTrainedModel, after: PreTrainedModel, inputs: dict[str, Any], seconds: float) -> Speed:
    """Time one forward of two models in turn, each first as often as the other, after one round that does not count.

    Args:
        before, after: The models, on one device, each with the attention it runs by itself.
        inputs: What both are called with, as `filled` returns it.
        seconds: About how long to measure; some rounds are run whatever they take.
    """
    models = (before, after)
    for model in models:
        _milliseconds(model, inputs)
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(times) < _FEWEST_ROUNDS or (len(times) < _MOST_ROUNDS and time.perf_counter() < end):
        order = (0, 1) if len(times) % 2 else (1, 0)
        taken = {which: _milliseconds(models[which], inputs) for which in order}
        times.append((taken[0], taken[1]))
    rounds = np.array(times)
    batch, length = inputs["input_ids"].shape
    return Speed(
        batch=batch,
        length=length,
        rounds=len(times),
        before=_spread(rounds[:, 0]),
        after=_spread(rounds[:, 1]),
        ratio=_spread(rounds[:, 1] / rounds[:, 0]),
    )


def _milliseconds(model: PreTrainedModel, inputs: dict[str, Any]) -> float:
    _wait(model)
    start = time.perf_counter()
    with torch.inference_mode():
        model(**inputs)
    _wait(model)
    return 1000 * (time.perf_counter() - start)


def _wait(model: PreTrainedModel) -> None:
    """Wait for an accelerator, which runs on its own time."""
    if model.device.type != "cpu":
        torch.accelerator.synchronize(model.device)


def _spread(values: Any) -> Spread:
    low, median, high = (float(value) for value in np.percentile(values, (25, 50, 75)))
    return Spread(low, median, high)
