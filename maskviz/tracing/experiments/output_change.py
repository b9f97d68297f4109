"""The outputs of two plain runs beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import torch
from transformers import PreTrainedModel

from maskviz.core.results.diff import OutputChange
from maskviz.core.run.trace import Batch, ModelCard
from maskviz.core.words import Backend
from maskviz.tracing.calling import (
    Calling,
    Inputs,
    called,
    explained,
    joined_output,
    largest_difference,
    same_randomness,
)
from maskviz.tracing.seam.implementations import evaluating, running


def plain_output(
    model: PreTrainedModel, inputs: Inputs, card: ModelCard, calling: Calling, backend: Backend | None = None
) -> torch.Tensor | None:
    """Run a model plainly and return its main output on the CPU; under another backend, which is put back afterwards.

    Raises:
        CannotTraceError: the model raises, such as where the backend is not on this machine.
    """
    what = "fails on this input" if backend is None else f"cannot be run under {backend} here"
    with ExitStack() as block:
        block.enter_context(explained(card, what))
        block.enter_context(torch.no_grad())
        block.enter_context(evaluating(model))
        block.enter_context(same_randomness())
        if backend is not None:
            block.enter_context(running(model, backend.value))
        output = joined_output(called(model, inputs, calling))
        return None if output is None else output.cpu()


def output_change(a: torch.Tensor | None, b: torch.Tensor | None, side: Batch, logits: bool) -> OutputChange | None:
    """Compare two outputs at real tokens; None where they are not of one shape.

    Args:
        a, b: [batch, token, width], or [batch, class].
        side: The tokens they are outputs of.
        logits: Whether the last axis is what is predicted.
    """
    largest = largest_difference(a, b, side)
    if largest is None or a is None or b is None:
        return None
    if not logits or a.shape[-1] < 2:
        return OutputChange(largest)
    if a.ndim == 3 and a.shape[0] == side.rows and a.shape[1] <= side.length:
        keep = torch.as_tensor(side.keep[:, side.length - a.shape[1] :].copy(), device=a.device)
        a, b = a[keep], b[keep]
    flipped, divergences = 0, []
    for one, other in zip(_scores(a), _scores(b), strict=True):  # in parts: vocabularies are large
        divergence = torch.nn.functional.kl_div(other, one, reduction="none", log_target=True).sum(-1)
        divergences.append(divergence)
        flipped += int((one.argmax(-1) != other.argmax(-1)).sum())
    every = torch.cat(divergences)
    return OutputChange(largest, len(every), flipped, float(every.mean()), float(every.max()))


def _scores(logits: torch.Tensor) -> Iterator[torch.Tensor]:
    """Log-probabilities float64 [at most 256, class] of logits [..., class]."""
    for part in torch.split(logits.reshape(-1, logits.shape[-1]), 256):
        yield part.double().log_softmax(-1)
