"""A module run again with a later token changed: what moves says what reaches what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from maskviz.core.arrays import BoolArray
from maskviz.core.run.trace import Batch
from maskviz.tracing.modules.heard import Hearing
from maskviz.tracing.modules.run import ModuleRun, main_of


class Changeable(Protocol):
    """A subject whose inputs can be others."""

    def plain(self) -> Any:
        """What it returns by itself."""

    def heard(self, hearing: Hearing) -> Any:
        """What it returns while a hearing is filled."""

    def with_inputs(self, change: Callable[[str, Any], Any]) -> Changeable:
        """The same with other inputs."""


@dataclass(frozen=True, slots=True)
class Moved:
    """How far outputs moved.

    Attributes:
        most: Largest absolute change of those that were asked about.
        size: Largest absolute output.
        passes: Forward passes it took.
    """

    most: float
    size: float
    passes: int


def moved_by_later(ran: ModuleRun) -> Moved | None:
    """Change the last real position of each row; see whether an output before it moves.

    Returns:
        None where no input has a number for each position, or no output is one of each.
    """
    side = ran.trace.batch.decoder or ran.trace.batch
    if side.length < 2 or not side.keep.any():
        return None
    last = side.length - 1 - np.argmax(side.keep[:, ::-1], axis=1)
    places = np.arange(side.length) == last[:, None]
    before = side.keep & (np.arange(side.length) < last[:, None])
    return _moved(ran, side, places, before)


def _moved(ran: ModuleRun, side: Batch, places: BoolArray, asked: BoolArray) -> Moved | None:
    """Change the inputs at `places` [batch, position], look at the outputs that are `asked` about.

    An input of the same shape may be an encoder's, whose every token may move every output, and cross attention over as
    many keys as queries does not say that it is one. So each is changed alone: of those that move something, the one
    that moves least is what the outputs follow.
    """
    subject: Any = ran.subject
    if not hasattr(subject, "with_inputs") or not asked.any():
        return None
    names: list[str] = []

    def noticed(name: str, value: Any) -> Any:
        names.extend([name] if _other(name, value, places, ran) is not None else [])
        return value

    subject.with_inputs(noticed)
    before = main_of(subject.plain(), ran.trace) if names else None
    if before is None or before.ndim != 3 or before.shape[:2] != side.ids.shape:
        return None
    at = torch.as_tensor(np.array(asked), device=before.device)
    found: list[float] = []
    for name in names:
        after = main_of(_with_others(ran, places, name).plain(), ran.trace)
        if after is None or after.shape != before.shape:
            return None
        difference = (before.float() - after.float()).abs().nan_to_num(0.0)
        if difference.any():
            found.append(float(difference[at].max()))
    return Moved(min(found, default=0.0), float(before.float().abs().max()), 1 + len(names))


def _with_others(ran: ModuleRun, places: BoolArray, changed: str) -> Any:
    """The subject with something else at `places` of one input; an array stays one."""

    def change(name: str, value: Any) -> Any:
        other = _other(name, value, places, ran) if name == changed else None
        if other is None:
            return value
        return other.numpy() if isinstance(value, np.ndarray) else other

    subject: Any = ran.subject
    return subject.with_inputs(change)


def _other(name: str, value: Any, places: BoolArray, ran: ModuleRun) -> torch.Tensor | None:
    """An input with something else at places; None where it is none of the side's positions, or a mask."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":  # what Keras is called with
        value = torch.tensor(value)
    if not isinstance(value, torch.Tensor) or value.ndim < 2 or value.is_nested or "mask" in name.lower():
        return None
    at = torch.as_tensor(np.array(places), device=value.device)
    if value.shape[:2] != at.shape:
        if value.ndim < 3 or value.shape[1::-1] != at.shape:
            return None
        at = at.T
    other = value.clone()
    if value.dtype is torch.bool:
        return None
    if value.is_floating_point():
        if value.ndim < 3:
            return None
        other[at] = other[at].roll(1, dims=-1) * 1.5 + 1.0
        return other
    most = max(ran.vocabularies, default=int(value.max()) + 1)
    other[at] = torch.where(other[at] + 1 < most, other[at] + 1, (other[at] - 1).clamp(min=0))
    return other
