"""Everything a check may look at; what is not known is None."""

from __future__ import annotations

from dataclasses import dataclass

from maskviz.core.checks.behaviour import Ablated, Behaviour, ModelFacts
from maskviz.core.checks.given_array import GivenArray
from maskviz.core.checks.given_batch import GivenBatch
from maskviz.core.rules.algebra import Rule
from maskviz.core.words import Purpose


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What a check is about.

    Attributes:
        array: A mask file, alone or in a batch's company.
        batch: A batch as it was given.
        purpose: What the batch is for; None where nobody said.
        model: What the model is said to be.
        run: What it did.
        ablated: Logits of somebody's own ablation.
        meant: The mask that is meant, in the words of rules; None where nobody said.
    """

    array: GivenArray | None = None
    batch: GivenBatch | None = None
    purpose: Purpose | None = None
    model: ModelFacts | None = None
    run: Behaviour | None = None
    ablated: Ablated | None = None
    meant: Rule | None = None
