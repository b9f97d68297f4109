"""The families of the coverage table, and the layers of a model that have no attention matrix."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from maskviz.core.run.trace import Trace
from maskviz.load.models.card import text_part
from tools.model_types import generates

_NO_MATRIX = re.compile(r"linear|mamba|recurrent|conv|rwkv|gru|lstm|moe$|^mlp$|kda|delta")
_NO_SOFTMAX = re.compile(r"mamba|rwkv|xlstm|fnet|yoso|^mra$")


class Family(StrEnum):
    """A row of the table."""

    ENCODER = "encoder"
    DECODER = "decoder"
    ENCODER_DECODER = "encoder-decoder"
    HYBRID = "hybrid / no softmax"
    MULTIMODAL = "multimodal"


def family_of(config: PreTrainedConfig, model_class: type[PreTrainedModel]) -> Family:
    """The family of a model: the first that fits of multimodal, hybrid, encoder-decoder, decoder, encoder."""
    text = text_part(config)
    if any(re.search(r"text_config|vision|image|audio|codec|speech", name) for name in _parts(config)):
        return Family.MULTIMODAL
    kinds = _kinds(text)
    if any(_NO_MATRIX.search(kind) for kind in kinds) or _NO_SOFTMAX.search(str(config.model_type)):
        return Family.HYBRID
    if getattr(config, "is_encoder_decoder", False):
        return Family.ENCODER_DECODER
    return Family.DECODER if generates(model_class) else Family.ENCODER


def _parts(config: PreTrainedConfig) -> list[str]:
    """The names of the configs in a config, those in them included."""
    found = []
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            found += [name, *_parts(value)]
    return found


def _kinds(config: PreTrainedConfig) -> list[str]:
    """What a config calls its layers; empty where it does not."""
    for name in ("layers_block_type", "layer_types", "block_types", "attn_layers"):
        try:
            kinds: Any = getattr(config, name, None)
        except Exception:  # worked out from fields that this config may lack
            continue
        if isinstance(kinds, list | tuple):
            return [str(kind) for kind in kinds]
    return []


def layers_without_attention(
    trace: Trace, config: PreTrainedConfig, maps: dict[str, int]
) -> tuple[tuple[str, ...], list[str]]:
    """The layers that maskviz says have no attention matrix, and those it says nothing about.

    Args:
        trace: What maskviz heard.
        config: The model's config.
        maps: Maps the model itself returns, by stack ("" for a model of one stack).
    """
    silent = tuple(f"{one.stack} {one.layer}: {one.kind}" for one in trace.silent)
    unknown = [f"{one.stack} {one.layer}: not heard, and not known what it is" for one in trace.silent if not one.kind]
    if unknown or ("" not in maps and maps):
        return silent, unknown
    count = getattr(text_part(config), "num_hidden_layers", None)
    if not isinstance(count, int) or len(trace.stacks) > 1:
        return silent, []
    known = {call.layer for call in trace.calls} | {one.layer for one in trace.silent}
    unsaid = [str(layer) for layer in range(count) if layer not in known]
    return silent, [f"nothing is said of layers {', '.join(unsaid)}"] if unsaid else []
