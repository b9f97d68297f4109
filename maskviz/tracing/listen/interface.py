"""The tap for models on transformers' attention interface: every file's own eager attention is listened to.

A model that runs "eager" looks its file's `eager_attention_forward` up at each call, so a listener put in its place
hears every call and runs the very function it stands for. Nothing is renamed: code that asks which implementation
runs (the sparse indexers do, to decide whether the mask carries their choice) finds the one it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from maskviz.core.arrays import FloatArray
from maskviz.core.run.masks import Delivery
from maskviz.tracing.doors import to_floats
from maskviz.tracing.listen.dialect import Dialect, added
from maskviz.tracing.listen.recorder import Captured, Recorder
from maskviz.tracing.seam.eager import eager_attention_replaced


@contextmanager
def eager_attention_heard(model: torch.nn.Module, recorder: Recorder, dialect: Dialect) -> Iterator[None]:
    """Hear the eager attention of every file the model's modules are written in.

    Args:
        model: The model.
        recorder: Where to keep what is heard.
        dialect: How its modules read the masks they are handed.
    """
    paths = {id(module): path for path, module in model.named_modules()}
    with eager_attention_replaced(model, lambda original: _listener(original, recorder, paths, dialect)):
        yield


def _listener(
    original: Callable[..., Any], recorder: Recorder, paths: dict[int, str], dialect: Dialect
) -> Callable[..., Any]:
    def attention(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        *positional: Any,
        **arguments: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        path = paths.get(id(module))
        if path is None or recorder.expected.is_within_tokens(*query.shape[1:3]):
            foreign: tuple[torch.Tensor, torch.Tensor] = original(
                module, query, key, value, attention_mask, *positional, **arguments
            )
            return foreign
        handed = dialect.additive(module, attention_mask, query.dtype)
        if recorder.paused or recorder.away:  # one file's eager attention calls another's; no tokens are read here
            plain: tuple[torch.Tensor, torch.Tensor] = original(
                module, query, key, value, handed, *positional, **arguments
            )
            return dialect.emptied(module, attention_mask, *plain)
        own = recorder.own_mask(path)
        if own is not None:
            visible = torch.as_tensor(np.array(own), device=query.device)
            attention_mask = handed = added(visible, query.dtype)
        gate = recorder.gate(path)
        with recorder.looking_away():
            if recorder.weightless:
                output, weights = nothing(query, key, value)
            else:
                output, weights = original(module, query, key, value, handed, *positional, **arguments)
                output, weights = dialect.emptied(module, attention_mask, output, weights)
        delivery = Delivery.NOTHING if attention_mask is None else Delivery.ADDITIVE
        if attention_mask is not None and attention_mask.dtype is torch.bool:
            delivery = Delivery.BOOLEAN
        recorder.record(
            Captured(
                module=path,
                heads=query.shape[1],
                key_heads=key.shape[1],
                pattern=None if recorder.weightless else to_floats(weights),
                visible=recorder.cells_of(handed, (query.shape[0], query.shape[2], key.shape[2])),
                source=handed,
                bias=None if recorder.weightless else recorder.bias_of(arguments.get("position_bias")),
                delivery=delivery,
            )
        )
        return gated(output, gate), weights

    return attention


def nothing(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Output [batch, query, head, width] and weights of an attention without numbers."""
    batch, heads, queries, _ = query.shape
    nothing = torch.zeros((), dtype=query.dtype)
    output = nothing.expand(batch, queries, heads, value.shape[-1])
    return output, nothing.expand(batch, heads, queries, key.shape[2])


def gated(output: torch.Tensor, gate: FloatArray | None) -> torch.Tensor:
    """Multiply gates [head] onto the output of each head [batch, query, head, width], before it is projected."""
    if gate is None:
        return output
    factors = torch.as_tensor(np.array(gate), dtype=output.dtype, device=output.device)
    if output.ndim == 3:  # heads already joined: [batch, query, heads * width]
        batch, queries, width = output.shape
        return (output.view(batch, queries, len(gate), -1) * factors[:, None]).view(batch, queries, width)
    return output * factors[:, None]
