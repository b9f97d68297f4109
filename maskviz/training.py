"""Masks checked while a model is trained: a callback for transformers' Trainer and what is built on it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from maskviz.api.watched import BatchCheck, MaskFindingsError, MaskWarning, checked

__all__ = ["BatchCheck", "MaskCheck", "MaskFindingsError", "MaskWarning", "checked"]

_LOG = logging.getLogger(__name__)


class MaskCheck(TrainerCallback):
    """Checks batches as the model is handed them, between two steps of a `Trainer` (trl's, too).

    The first forward of a step that is due is heard by a hook, which is gone afterwards; what it was called with is
    checked when the step has ended, on the first `rows` rows. The model, its gradients and the random generators are as
    they were. Each process checks its own batches; where one raises, it says which process it is.

    Attributes:
        check: Which batches are checked, and what was done so far.
    """

    def __init__(
        self, every: int = 500, *, first: int = 20, rows: int | None = 8, fail_on: str = "error", **options: Any
    ) -> None:
        """Say which steps are checked; see `BatchCheck`.

        Args:
            every, first, rows, fail_on: As there.
            **options: As `maskviz.check` takes them.

        Raises:
            UsageError: a severity there is not, or a number that cannot be.
        """
        self.check = BatchCheck(first, every, rows, fail_on, options)
        self._heard: tuple[int, Mapping[str, Any]] | None = None
        self._hook: Any = None

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Listen to the first forward of a step that is due."""
        del args, control
        self._forget()
        model = more.get("model")
        if isinstance(model, torch.nn.Module) and self.check.due(state.global_step):
            self._hook = model.register_forward_pre_hook(self._hear(state.global_step), with_kwargs=True)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Check what was heard.

        Raises:
            MaskFindingsError: it is wrong.
        """
        del args, state, control
        heard, model = self._heard, more.get("model")
        self._forget()
        if heard is None or model is None:
            return
        step, batch = heard
        found = self.check.look(model, batch, step)
        _LOG.info("step %d: masks checked in %d forward passes: %r", step, found.checked.passes, found)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Leave no hook behind."""
        del args, state, control, more
        self._forget()

    def _hear(self, step: int) -> Any:
        def hear(module: torch.nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
            del module, positional
            if self._heard is None:
                self._heard = (step, dict(named))

        return hear

    def _forget(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook, self._heard = None, None
