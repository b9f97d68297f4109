"""Batches checked where they go wrong: on their way into a training loop. Imports torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from maskviz.api.check import Findings, check
from maskviz.core.errors import ExitCode, MaskvizError, UsageError
from maskviz.core.words import Severity
from maskviz.core.writing import nearest
from maskviz.view.findings import findings_lines

if TYPE_CHECKING:
    from maskviz.api.runs.options import Model

Batch = TypeVar("Batch")
# What `fail_on` may be; the least severity that raises.
FAIL_ON = (*(one.value for one in Severity), "never")


class MaskFindingsError(MaskvizError):
    """A batch whose masks are wrong.

    Attributes:
        findings: What was found.
        step: Which batch it was, from 0.
    """

    exit_code = ExitCode.FINDING

    def __init__(self, findings: Findings, step: int) -> None:
        super().__init__(
            f"batch {step}: {findings_lines(findings.checked)}", "findings has them; show() draws the page"
        )
        self.findings = findings
        self.step = step


class MaskWarning(UserWarning):
    """Something `check` found in a batch that is let through."""


@dataclass(slots=True)
class BatchCheck:
    """Which batches of a training run are checked, and what happens where one is wrong.

    The model is run on the rows that are looked at, in evaluation mode, without gradients and outside of autocast; its
    mode, gradients, buffers, hooks and the random generators are afterwards as they were.

    Attributes:
        first: So many batches are checked from the first on.
        every: And then each of this number; 0 for none.
        rows: Rows of a batch that are looked at, its first; None for all. A check takes several forward passes over
            these, so that eight of a hundred cost about as much as one over all.
        fail_on: The least severity that raises: "error", "warning", "note", or "never". What is less is a warning.
        options: What else `maskviz.check` is told.
        passes: Forward passes over the rows that were looked at, of all checks so far.
        checked: Batches that were checked so far.
    """

    first: int = 20
    every: int = 500
    rows: int | None = 8
    fail_on: str = "error"
    options: Mapping[str, Any] = field(default_factory=dict)
    passes: int = 0
    checked: int = 0

    def __post_init__(self) -> None:
        if self.fail_on not in FAIL_ON:
            hint = f"{nearest(self.fail_on, FAIL_ON)} it is {', '.join(FAIL_ON)}".strip()
            raise UsageError(f"fail_on={self.fail_on!r} is no severity", hint)
        for name in ("first", "every"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name}={getattr(self, name)} is less than 0", "0 checks none")
        if self.rows is not None and self.rows < 1:
            raise UsageError(f"rows={self.rows} is less than 1", "None looks at all rows")

    def due(self, step: int) -> bool:
        """Whether a batch, counted from 0, is to be checked."""
        return step < self.first or (self.every > 0 and step % self.every == 0)

    def look(self, model: Model, batch: Any, step: int) -> Findings:
        """Check a batch now.

        Raises:
            MaskFindingsError: it has a finding of the severity that raises, or a graver one.
            MaskvizError: the model cannot be run on it.
        """
        with torch.autocast(_device_of(model), enabled=False):
            found = check(model, rows_of(batch, self.rows), **self.options)
        self.checked += 1
        self.passes += found.checked.passes
        least = None if self.fail_on == "never" else Severity(self.fail_on).rank
        if least is not None and any(one.severity.rank >= least for one in found):
            raise MaskFindingsError(found, step)
        if found:
            warnings.warn(f"batch {step}: {findings_lines(found.checked)}", MaskWarning, stacklevel=2)
        return found


def checked(
    loader: Iterable[Batch],
    model: Model,
    *,
    first: int = 20,
    every: int = 500,
    fail_on: str = "error",
    inputs: Callable[[Batch], Any] | None = None,
    **options: Any,
) -> Iterator[Batch]:
    """Hand on the batches of a loader, and check some of them against the model before they are used.

    Args:
        loader: Anything that yields batches; it may have workers, and need no length.
        model: The model that is trained, as it is; or a module of your own.
        first, every, fail_on: As in `BatchCheck`.
        inputs: Makes of a batch the arguments of the model's forward; None where it is them.
        **options: `rows` as in `BatchCheck`; and as `maskviz.check` takes them, such as `tokenizer`, `meant`, `ignore`.

    Yields:
        Every batch, untouched.

    Raises:
        MaskFindingsError: a batch is wrong.
    """
    watch = BatchCheck(first, every, options.pop("rows", 8), fail_on, options)
    for step, batch in enumerate(loader):
        if watch.due(step):
            watch.look(model, batch if inputs is None else inputs(batch), step)
        yield batch


def rows_of(batch: Any, rows: int | None) -> Any:
    """The first rows of a batch: of every tensor or array that is as long as the first of them."""
    if rows is None:
        return batch
    named = dict(batch) if isinstance(batch, Mapping) else None
    values = list(named.values()) if named is not None else list(batch) if isinstance(batch, list | tuple) else [batch]
    count = next((len(one) for one in values if _has_rows(one)), 0)
    if count <= rows:
        return batch
    cut = [one[:rows] if _has_rows(one) and len(one) == count else one for one in values]
    if named is not None:
        return dict(zip(named, cut, strict=True))
    return tuple(cut) if isinstance(batch, list | tuple) else cut[0]


def _has_rows(value: Any) -> bool:
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.ndim > 1 or (value.ndim == 1 and len(value) > 0)
    return isinstance(value, list) and bool(value)


def _device_of(model: Any) -> str:
    first = next(model.parameters(), None) if isinstance(model, torch.nn.Module) else None
    return "cpu" if first is None or first.device.type == "meta" else first.device.type
