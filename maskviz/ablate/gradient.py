"""Importance by one backward pass: how steeply the loss falls with each head's gate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from maskviz.ablate.effects import Progress, no_progress
from maskviz.ablate.measures import Meaning, Yardstick, measures_known
from maskviz.ablate.model_and_texts import AblatedText, ModelAndTexts
from maskviz.ablate.rerun import Rerun, rerunning
from maskviz.core.arrays import DoubleArray
from maskviz.core.errors import CannotTraceError
from maskviz.core.results.importance import Site
from maskviz.core.run.heads import HeadMask
from maskviz.core.words import Measure
from maskviz.core.writing import parameter
from maskviz.tracing.meaning.hearing import StackLayer, gates_of


def gradients_of(
    subject: ModelAndTexts,
    sites: Sequence[Site],
    *,
    base: HeadMask | None = None,
    which: Sequence[int] | None = None,
    progress: Progress = no_progress,
) -> DoubleArray:
    """|dL/d gate| of each site's gate on each text, at the gates as they are.

    This is the expected sensitivity of Michel et al. 2019 ("Are Sixteen Heads Really Better than One?", equation 2)
    before its mean over texts. With a gate ξ on a head's output A, dL/dξ = ⟨A, dL/dA⟩: one backward pass serves all
    heads. Several heads under one gate (a key head's group) add up before the absolute value is taken.

    Args:
        subject: The model and its texts.
        sites: What has a gate.
        base: Gates in force; None for all open.
        which: Numbers of the texts, None for all.
        progress: Called with 1 for each text.

    Returns:
        float64 [text, site].

    Raises:
        CannotTraceError: the outputs have no loss (hidden states, scores), or a text has nothing that is predicted.
    """
    which = range(len(subject.texts)) if which is None else which
    meaning = Meaning.of(subject)
    if Measure.LOSS not in measures_known(subject):
        raise CannotTraceError(
            f"there is no loss to take a gradient of: {subject.trace.card.architecture} puts out {meaning.kind.value}, "
            "or a text has no token that is predicted",
            f"rank exactly, or give longer texts, or a {parameter('target')}",
        )
    places = _places(subject, sites)
    found = np.zeros((len(which), len(sites)))
    with rerunning(subject, gradients=True) as rerun, _weights_fixed(subject.model):
        for row, index in enumerate(which):
            asked = subject.texts[index].asked
            parts = [_of_text(rerun, text, meaning, base) for text in asked]
            by_place = {place: np.mean([part[place] for part in parts], axis=0) for place in parts[0]}
            for column, site in enumerate(sites):
                heads = list(site.heads)
                total = sum(by_place[place][heads].sum() for place in places[site.stack, site.layer])
                found[row, column] = abs(total)
            progress(1)
    return found


def _places(subject: ModelAndTexts, sites: Sequence[Site]) -> dict[tuple[str, int], list[StackLayer]]:
    """The places of each stack and layer; where one softmax is over both sides they are one place."""
    wanted = {(site.stack, site.layer) for site in sites}
    found: dict[tuple[str, int], list[StackLayer]] = {key: [] for key in wanted}
    for place, calls in subject.calls.items():
        key = (calls[0].stack.value, calls[0].layer)
        if key in found:
            found[key].append(place)
    return found


def _of_text(rerun: Rerun, text: AblatedText, meaning: Meaning, base: HeadMask | None) -> dict[StackLayer, DoubleArray]:
    """dL/d gate, float64 [head], of every place."""
    shards = rerun.subject.shards
    in_force = {} if base is None else gates_of(rerun.subject.trace, base)
    gates: dict[StackLayer, torch.Tensor] = {}

    def gated(place: StackLayer, output: torch.Tensor) -> torch.Tensor:
        values = in_force.get(place)
        start = torch.ones(output.shape[1]) if values is None else torch.as_tensor(shards.own(place[0], values).copy())
        gates[place] = start.to(output).requires_grad_()
        return output * gates[place][:, None, None]

    returned = rerun.plainly(text, gated)
    loss = Yardstick(meaning, returned, text.batch.decoder or text.batch, text.answer).loss(returned)
    slopes = torch.autograd.grad(loss, list(gates.values()), allow_unused=True)
    own = [
        np.zeros(len(gate)) if slope is None else slope.double().cpu().numpy()
        for gate, slope in zip(gates.values(), slopes, strict=True)
    ]
    return {place: shards.whole(place[0], slope, axis=0) for place, slope in zip(gates, own, strict=True)}


@contextmanager
def _weights_fixed(model: torch.nn.Module) -> Iterator[None]:
    """Take no gradients of the weights: those of the gates are all that is asked for."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
