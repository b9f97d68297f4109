"""Masks asserted in tests: what fails reads like the page of `maskviz check`."""

from __future__ import annotations

from itertools import islice
from typing import Any

from maskviz.api.check import Findings, check
from maskviz.api.watched import FAIL_ON
from maskviz.core.errors import UsageError
from maskviz.core.words import Severity

__all__ = ["assert_masks", "first_batches"]


def assert_masks(model: Any, batch: Any, *, fail_on: str = "error", **options: Any) -> Findings:
    """Fail where a batch's masks are wrong for a model.

    Args:
        model: A model of transformers, a module of your own, or a name.
        batch: What the model is called with, labels too; or texts.
        fail_on: The least severity that fails: "error", "warning" or "note".
        **options: As `maskviz.check` takes them, such as `meant="causal"`, `ignore=["P3"]`.

    Returns:
        What was found and lets it pass.

    Raises:
        AssertionError: something was found; its text is the page of `maskviz check`.
        UsageError: a severity there is not.
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    if fail_on not in FAIL_ON[:-1]:
        raise UsageError(f"fail_on={fail_on!r} is no severity", f"it is {', '.join(FAIL_ON[:-1])}")
    found = check(model, batch, **options)
    least = Severity(fail_on).rank
    if any(one.severity.rank >= least for one in found):
        raise AssertionError(str(found))
    return found


def first_batches(data: Any, count: int = 3) -> list[Any]:
    """The first batches of what a training loop reads.

    Args:
        data: A loader, anything that yields batches, or a data module that has a `train_dataloader()`.
        count: How many.

    Raises:
        UsageError: it yields nothing.
    """
    if hasattr(data, "train_dataloader"):
        if hasattr(data, "setup"):
            data.setup("fit")
        data = data.train_dataloader()
    batches = list(islice(data, count))
    if not batches:
        raise UsageError(f"a {type(data).__name__} yields no batch", "give a loader that has data")
    return batches
