"""Names of other people's modules and registries, replaced for a while and for this thread alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from threading import RLock, get_ident
from typing import Any

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
