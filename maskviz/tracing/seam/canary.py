"""A canary: a small question to the installed release, which falls silent where a private name has moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import transformers

from maskviz.core.errors import CannotTraceError


@dataclass(frozen=True, slots=True)
class Canary:
    """What one piece of the seam takes for granted.

    Attributes:
        name: What stands at stake, as a user would say it.
        library: "transformers" or "torch".
        sings: Whether it is where and as it was; may raise where it is not.
    """

    name: str
    library: str
    sings: Callable[[], bool]

    def trouble(self) -> str:
        """A sentence on what has moved in which release; "" where nothing has."""
        try:
            fine = self.sings()
        except (AttributeError, ImportError, KeyError, TypeError):
            fine = False
        return "" if fine else moved(self.name, self.library)


class MovedError(CannotTraceError):
    """A private name is not where it was: nothing weaker may answer in its place."""

    def __init__(self, name: str, library: str = "transformers") -> None:
        super().__init__(moved(name, library), REMEDY)


REMEDY = "install a release that was tested (README says which), or a newer maskviz"


def moved(name: str, library: str) -> str:
    """The sentence on something that has moved."""
    release = transformers.__version__ if library == "transformers" else torch.__version__
    return f"{library} {release}: {name} is not where it was"


def has(thing: object, *names: str) -> bool:
    """Whether a module, class or object has attributes of these names."""
    return all(hasattr(thing, name) for name in names)


def troubles(canaries: Iterable[Canary]) -> tuple[str, ...]:
    """What the canaries that fell silent say."""
    return tuple(said for canary in canaries if (said := canary.trouble()))
