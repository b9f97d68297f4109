"""Names that are not promised to stay: looked up, replaced for a while in one thread, each with its canary."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import wraps
from threading import RLock, get_ident
from typing import Any

import torch
import transformers

from maskviz.core.errors import CannotTraceError


@dataclass(frozen=True, slots=True)
class Canary:
    """What one piece of the seam takes for granted.

    Attributes:
        name: What stands at stake, as a user would say it.
        package: "transformers", "torch" or "keras".
        sings: Whether it is where and as it was; may raise where it is not.
    """

    name: str
    package: str
    sings: Callable[[], bool]

    def trouble(self) -> str:
        """A sentence on what has moved in which release; "" where nothing has."""
        try:
            fine = self.sings()
        except (AttributeError, ImportError, KeyError, TypeError):
            fine = False
        return "" if fine else moved(self.name, self.package)


class MovedError(CannotTraceError):
    """A private name is not where it was: nothing weaker may answer in its place."""

    def __init__(self, name: str, package: str = "transformers") -> None:
        super().__init__(moved(name, package), REMEDY)


REMEDY = "install a release that was tested (README says which), or a newer maskviz"


def moved(name: str, package: str) -> str:
    """The sentence on something that has moved."""
    known = {"transformers": transformers.__version__, "torch": torch.__version__}
    release = known.get(package) or getattr(sys.modules.get(package), "__version__", "")
    return f"{package} {release}: {name} is not where it was"


def has(thing: object, *names: str) -> bool:
    """Whether a module, class or object has attributes of these names."""
    return all(hasattr(thing, name) for name in names)


def troubles(canaries: Iterable[Canary]) -> tuple[str, ...]:
    """What the canaries that fell silent say."""
    return tuple(said for canary in canaries if (said := canary.trouble()))


_MISSING = object()
_TURN = RLock()


def alone() -> AbstractContextManager[Any]:
    """A block that one thread at a time may be in: what it replaces, another would take for the original."""
    return _TURN


@contextmanager
def replaced(names: MutableMapping[str, Any], new: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Put other functions into a mapping of names while the block runs; each is put back by its name.

    Calls of other threads go to what was there before. What others put there meanwhile stays.

    Args:
        names: The globals of a module, or the entries of a registry.
        new: What is called instead, by name.
    """
    before = {name: names.get(name, _MISSING) for name in new}
    placed: dict[str, Any] = {}
    with alone():
        try:
            for name, function in new.items():
                placed[name] = names[name] = _in_this_thread(function, before[name])
            yield
        finally:
            for name, ours in placed.items():
                if names.get(name) is not ours:
                    continue
                if before[name] is _MISSING:
                    del names[name]
                else:
                    names[name] = before[name]


def _in_this_thread(function: Callable[..., Any], before: Any) -> Callable[..., Any]:
    """A function in this thread, what was there before in all others."""
    if before is _MISSING:
        return function
    thread = get_ident()

    @wraps(before)
    def chosen(*positional: Any, **arguments: Any) -> Any:
        return (function if get_ident() == thread else before)(*positional, **arguments)

    return chosen
