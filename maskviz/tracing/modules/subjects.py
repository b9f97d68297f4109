"""A module that is run plainly, then listened to, and is afterwards as it was."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from maskviz.core.errors import CannotTraceError, MaskvizError
from maskviz.tracing.calling import is_ours, same_randomness
from maskviz.tracing.modules.ear import Ear, paths_known
from maskviz.tracing.modules.heard import Hearing
from maskviz.tracing.modules.keras_layers import call_keras, computes_with_torch, listening_to_keras
from maskviz.tracing.modules.other_libraries import other_libraries_heard
from maskviz.tracing.modules.state import same_state
from maskviz.tracing.seam.flex import uncompiled
from maskviz.tracing.seam.implementations import copied, evaluating
from maskviz.tracing.seam.replacing import alone


@dataclass(frozen=True, slots=True, eq=False)
class TorchSubject:
    """A torch module and the arguments of its forward.

    Attributes:
        module: The module, where it is and as it is.
        positional: Arguments by position.
        named: Arguments by name.
    """

    module: torch.nn.Module
    positional: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> Any:
        """What the module returns in evaluation mode, without gradients, by whatever path it takes by itself."""
        with self._as_before(), _explained(self.module, "fails on these inputs"):
            return self.call_as_it_is()

    def heard(self, hearing: Hearing, ear: Ear | None = None) -> Any:
        """What it returns while it is listened to, with the gates of the hearing; by an ear of one's own, or the usual
        one."""
        with ExitStack() as block:
            block.enter_context(self._as_before())
            block.enter_context(_explained(self.module, "runs plainly, but not while it is listened to"))
            block.enter_context(slow_path())
            block.enter_context(paths_known(self.module, hearing))
            block.enter_context(other_libraries_heard(self.module, hearing))
            block.enter_context(Ear(hearing) if ear is None else ear)
            return self.call_as_it_is()

    def with_inputs(self, change: Callable[[str, Any], Any]) -> TorchSubject:
        """The same with other inputs: what `change` makes of each, by its name or its number."""
        positional = tuple(change(str(place), one) for place, one in enumerate(self.positional))
        return TorchSubject(self.module, positional, {name: change(name, one) for name, one in self.named.items()})

    def call_as_it_is(self) -> Any:
        """What the module returns in the state it is in."""
        # Copies: a module may write into what it is given.
        return self.module(
            *(copied(one) for one in self.positional), **{name: copied(one) for name, one in self.named.items()}
        )

    @contextmanager
    def _as_before(self) -> Iterator[None]:
        with ExitStack() as block:
            block.enter_context(alone())
            block.enter_context(evaluating(self.module))
            block.enter_context(torch.no_grad())
            block.enter_context(same_randomness())
            block.enter_context(uncompiled())
            block.enter_context(same_state(self.module))
            block.enter_context(_unwarned())
            yield


@dataclass(frozen=True, slots=True, eq=False)
class KerasSubject:
    """A layer or model of Keras and its inputs.

    Attributes:
        module: The layer or model, where it is and as it is.
        inputs: As `call_keras` takes them.
    """

    module: Any
    inputs: Any

    def plain(self) -> Any:
        """What it returns for inference, as arrays."""
        with alone(), _unwarned():
            return call_keras(self.module, self.inputs)

    def heard(self, hearing: Hearing) -> Any:
        """What it returns while it is listened to, with the gates of the hearing."""
        with ExitStack() as block:
            block.enter_context(alone())
            block.enter_context(_unwarned())
            block.enter_context(listening_to_keras(self.module, hearing))
            if computes_with_torch(self.module):  # attention by hand, of keras.ops, is torch's own there
                block.enter_context(Ear(hearing))
            return call_keras(self.module, self.inputs)

    def with_inputs(self, change: Callable[[str, Any], Any]) -> KerasSubject:
        """The same with other inputs: what `change` makes of each, by its name or its number."""
        if isinstance(self.inputs, Mapping):
            return KerasSubject(self.module, {name: change(name, one) for name, one in self.inputs.items()})
        if isinstance(self.inputs, list | tuple):
            changed = [change(str(place), one) for place, one in enumerate(self.inputs)]
            return KerasSubject(self.module, type(self.inputs)(changed))
        return KerasSubject(self.module, change("0", self.inputs))


@contextmanager
def _unwarned() -> Iterator[None]:
    """Leave out a module's own advice, which whoever runs it gets anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def slow_path() -> Iterator[None]:
    """Have torch's own layers run in Python: their fast path is one fused call that nothing can be asked about."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _explained(module: torch.nn.Module, what: str) -> Iterator[None]:
    """Turn what a module raises into a CannotTraceError that says `what` it did; its traceback stays behind it."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MaskvizError) or is_ours(error):
            raise
        summary = (f"{type(error).__name__}: {error}".splitlines() or [""])[0]
        raise CannotTraceError(f"{type(module).__name__} {what}: {summary}", _REMEDY) from error


_REMEDY = "it is the module's own error on these inputs; --traceback, or MASKVIZ_TRACEBACK=1, shows where"
