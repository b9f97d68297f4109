"""Models built from a config alone: without weights, or with random ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedConfig, PreTrainedModel

from maskviz.core.errors import CannotTraceError

# A tensor of more numbers than this is made on the meta device from the start: it is a weight, or as large as one.
# Causal triangles that old models keep as buffers are smaller (4096 x 4096).
_LARGEST_BUFFER = 1 << 24
# The largest published models have some 50,000 when every expert keeps its own.
_MOST_TENSORS = 200_000
_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.randn, torch.rand, torch.randint}


def without_weights(model_class: Callable[[PreTrainedConfig], PreTrainedModel], config: PreTrainedConfig) -> Any:
    """Build a model whose parameters have shapes and no numbers; its buffers are real.

    Args:
        model_class: Class of the model, or the `from_config` of an auto class.
        config: Its config.

    Returns:
        The model in evaluation mode, parameters on the meta device, buffers on the CPU.
    """
    with torch.no_grad(), ExitStack() as block:
        block.enter_context(_parameters_on_meta())
        block.enter_context(_LargeOnMeta())
        model = model_class(config)
    return model.train(False)


def with_random_weights(
    model_class: Callable[[PreTrainedConfig], PreTrainedModel], config: PreTrainedConfig, seed: int
) -> Any:
    """Build a model with the random weights its own code starts training from, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
    return model.train(False)


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Move every parameter to the meta device as a module takes it, before anything is written into it."""
    register = torch.nn.Module.register_parameter
    count, thread = 0, get_ident()

    def on_meta(self: torch.nn.Module, name: str, param: torch.nn.Parameter | None) -> None:
        nonlocal count
        if get_ident() != thread:  # somebody else's model, built meanwhile
            register(self, name, param)
            return
        count += 1
        if count > _MOST_TENSORS:
            raise CannotTraceError(
                f"its config asks for more than {_MOST_TENSORS:,} weight tensors", "check its layers and experts"
            )
        register(self, name, None if param is None else _moved(param))

    torch.nn.Module.register_parameter = on_meta  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.nn.Module.register_parameter = register  # type: ignore[method-assign]


def _moved(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    if parameter.device.type == "meta":
        return parameter
    return torch.nn.Parameter(parameter.data.to("meta"), requires_grad=parameter.requires_grad)


class _LargeOnMeta(TorchFunctionMode):
    """Tensors as large as weights are made on the meta device, so that they cost neither memory nor time."""

    def __torch_function__(
        self, function: Any, types: Any, positional: tuple[Any, ...] = (), arguments: dict[str, Any] | None = None
    ) -> Any:
        arguments = arguments or {}
        if function in _FACTORIES and _count(positional, arguments) > _LARGEST_BUFFER:
            arguments = {**arguments, "device": "meta"}
        return function(*positional, **arguments)


def _count(positional: tuple[Any, ...], arguments: dict[str, Any]) -> int:
    """Numbers a factory function is asked for."""
    sizes = arguments.get("size", positional)
    flat = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], tuple | list | torch.Size) else sizes
    count = 1
    for size in flat:
        if isinstance(size, tuple | list | torch.Size):
            return _count((size,), {})
        count *= size if isinstance(size, int) else 1
    return count
