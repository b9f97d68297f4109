"""Numbers of a config that no machine could build, caught before it is tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from maskviz.core.errors import CannotTraceError
from maskviz.core.parameters import parameter

# The deepest published models have a few hundred layers.
MOST_LAYERS = 10_000
_LAYERS = frozenset(
    {"num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"}
    | {"num_encoder_layers", "num_decoder_layers"}
)
_EXPERTS = frozenset({"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts"})
# What a model cannot have none of, or less. Other numbers may be 0 or -1 to mean "none" or "the last".
_COUNTS = frozenset({"num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads", "hidden_size"}) | {
    *("encoder_attention_heads", "decoder_attention_heads", "d_model", "n_embd", "vocab_size")
}
# Random weights are drawn one by one: more than these take minutes and most of a machine's memory.
_MOST_RANDOM = 2_000_000_000


def check_sizes(raw: Mapping[str, Any], name: str) -> None:
    """Refuse a config, as the dictionary in its file, that names an impossible number of layers, experts, heads or
    channels.

    Raises:
        CannotTraceError: it does.
    """
    for key, value in raw.items():
        if isinstance(value, Mapping):
            check_sizes(value, name)
        elif key in _LAYERS | _EXPERTS | _COUNTS and isinstance(value, float):
            raise CannotTraceError(f"the config of {name!r} names {key} {value}", "it must be a whole number")
        elif key in _COUNTS and isinstance(value, int) and value < 1:
            raise CannotTraceError(f"the config of {name!r} names {key} {value}", "it must be 1 or more")
        elif key in _EXPERTS and isinstance(value, int) and value < 0:
            raise CannotTraceError(f"the config of {name!r} names {key} {value}", "it must be 0 or more")
        elif key in _LAYERS and isinstance(value, int) and not 0 <= value <= MOST_LAYERS:
            raise CannotTraceError(
                f"the config of {name!r} names {key} {value}", f"maskviz builds models of up to {MOST_LAYERS:,} layers"
            )


def check_random_fits(model: torch.nn.Module, name: str) -> None:
    """Refuse random weights for a model too large to draw them for.

    Args:
        model: The model with its parameters on the meta device.
        name: What to call it.

    Raises:
        CannotTraceError: it is too large.
    """
    count = sum(parameter.numel() for parameter in model.parameters())
    if count > _MOST_RANDOM:
        raise CannotTraceError(
            f"{name!r} has {count / 1e9:.1f} billion parameters, random weights are drawn for up to 2 billion",
            f"{parameter('weights', False, shell='--no-weights')} shows its masks, exactly and in seconds",
        )
