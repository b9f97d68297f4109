"""What a forward leaves behind in its module, and how it is put back: caches, counters, whatever it remembers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch

from maskviz.tracing.seam.torch_names import buffers_of

# What torch keeps in every module; all of it but the buffers is looked after where it is changed.
_OF_TORCH = frozenset(vars(torch.nn.Module()))
_NOT_HELD = (torch.nn.Module, torch.nn.Parameter, type, FunctionType, MethodType, BuiltinFunctionType, ModuleType)
# A cache of transformers is an object that lists objects with tensors; what lies deeper is no state of a forward.
_DEEP = 2


@contextmanager
def same_state(module: torch.nn.Module) -> Iterator[None]:
    """Put back buffers and attributes of every part afterwards: the same objects, with the same in them."""
    kept = _Kept()
    for part in module.modules():
        kept.part(part)
    try:
        yield
    finally:
        kept.put_back()


@dataclass(slots=True, eq=False)
class _Kept:
    """What there was.

    Attributes:
        containers: Each with a shallow copy.
        tensors: Each with a copy of its numbers, by its id.
        seen: What has been looked at, by its id.
    """

    containers: list[tuple[Any, Any]] = field(default_factory=list)
    tensors: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    def part(self, part: torch.nn.Module) -> None:
        """Keep the buffers of a part and, where somebody else than torch wrote it, its attributes."""
        own = buffers_of(part)
        self.containers.append((own, dict(own)))
        for buffer in own.values():
            self.held(buffer, _DEEP)
        if not type(part).__module__.startswith("torch."):
            self.containers.append((vars(part), dict(vars(part))))
            for name, value in vars(part).items():
                if name not in _OF_TORCH:
                    self.held(value, _DEEP)

    def held(self, value: Any, deep: int) -> None:
        """Keep what is in a value, and in the objects in it, so many objects `deep`."""
        if isinstance(value, _NOT_HELD) or id(value) in self.seen:
            return
        if isinstance(value, torch.Tensor):
            if value.layout is torch.strided and not value.is_nested and not value.is_meta:
                self.tensors[id(value)] = (value, value.detach().clone())
        elif isinstance(value, list | deque | set | dict | tuple):
            self.seen.add(id(value))
            if not isinstance(value, tuple):
                self.containers.append((value, dict(value) if isinstance(value, dict) else list(value)))
            for one in value.values() if isinstance(value, dict) else value:
                self.held(one, deep)
        elif deep and hasattr(value, "__dict__") and not type(value).__module__.startswith("torch."):
            self.seen.add(id(value))
            self.held(vars(value), deep - 1)

    def put_back(self) -> None:
        """Fill each container and each tensor with what was in it, unless it still is."""
        for container, before in self.containers:
            if not _has_still(container, before):
                container.clear()
                container.extend(before) if isinstance(container, list | deque) else container.update(before)
        with torch.no_grad():
            for tensor, content in self.tensors.values():
                if tensor.shape != content.shape or not torch.equal(tensor, content):
                    tensor.resize_(content.shape).copy_(content)


def _has_still(container: Any, before: Any) -> bool:
    """Whether a container has the same objects as its copy, in the same order."""
    now, then = (list(one.items()) if isinstance(one, dict) else list(one) for one in (container, before))
    if len(now) != len(then):
        return False
    if isinstance(container, dict):
        return all(key is old and one is other for (key, one), (old, other) in zip(now, then, strict=True))
    return all(one is other for one, other in zip(now, then, strict=True))
