"""A model's card, read from its config without building the model."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from maskviz.core.run.trace import CHUNKS, SLIDING, ModelCard

_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")
_KEY_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
_WIDTH = ("hidden_size", "d_model", "n_embd", "dim")


def card_of(config: PreTrainedConfig, name: str, architecture: str) -> ModelCard:
    """Return what a config says of its model; what it does not say is None or left out, never guessed.

    For a composite config (an image-text model) the text part is meant.
    """
    text = text_part(config)
    encoder_decoder = bool(getattr(config, "is_encoder_decoder", False))
    layers, heads = _number(text, _LAYERS), _number(text, _HEADS)
    all_layers, all_heads = [layers], [heads]
    halves = [_read(config, "encoder"), _read(config, "decoder")]
    if encoder_decoder and all(isinstance(half, PreTrainedConfig) for half in halves):
        all_layers = [_number(half, _LAYERS) for half in halves]
        all_heads = [_number(half, _HEADS) for half in halves]
    elif encoder_decoder:
        all_layers.append(_number(text, ("decoder_layers", "num_decoder_layers")) or layers)
        all_heads.append(_number(text, ("decoder_attention_heads",)) or heads)
    key_heads = [_key_heads(text) or count for count in all_heads]
    return ModelCard(
        name=name,
        architecture=architecture,
        model_type=str(config.model_type),
        encoder_decoder=encoder_decoder,
        layers=tuple(count for count in all_layers if count),
        heads=tuple(count for count in all_heads if count),
        key_heads=tuple(count for count in key_heads if count),
        hidden_size=_number(text, _WIDTH),
        vocabulary=_number(text, ("vocab_size",)),
        positions=_number(text, ("max_position_embeddings",)),
        attention=layer_kinds(text, layers or 0),
    )


def text_part(config: PreTrainedConfig) -> PreTrainedConfig:
    """The part of a composite config that reads text; the config itself where there is none, or more than one."""
    try:
        part: PreTrainedConfig = config.get_text_config()
    except (AttributeError, ValueError):
        return config
    return part


def layer_kinds(config: PreTrainedConfig, layers: int) -> tuple[str, ...]:
    """One description per layer, such as "full" or "sliding window 4096", as the config words it.

    A config that names neither kinds of layers nor a window gets "no window named". This is the
    config's claim. What a layer really sees is what `show` traces.
    """
    kinds = _read(config, "layer_types")
    if not isinstance(kinds, list | tuple) or len(kinds) != layers:
        window = _number(config, ("sliding_window",))
        used = _read(config, "use_sliding_window")
        local = window and used is not False
        kinds = ["sliding_attention" if local else "no_window_named"] * layers
    return tuple(_described(str(kind), config) for kind in kinds)


def head_width(config: PreTrainedConfig) -> int | None:
    """Width of a head as the config says it; None where queries and values, or layers, differ in it.

    For a composite config (an image-text model) the text part is meant.
    """
    text = text_part(config)
    if any(_number(text, (name,)) for name in ("v_head_dim", "qk_rope_head_dim", "global_head_dim")):
        return None
    heads, width = _number(text, _HEADS), _number(text, _WIDTH)
    divided = width // heads if heads and width and width % heads == 0 else None
    return _number(text, ("head_dim", "d_kv", "attention_head_dim")) or divided


def _described(kind: str, config: PreTrainedConfig) -> str:
    plain = kind.removesuffix("_attention")
    if plain == "sliding":
        window = _number(config, ("sliding_window", "local_attention"))
        return f"{SLIDING} {window}" if window else SLIDING
    if plain == "chunked":
        return f"{CHUNKS} {_number(config, ('attention_chunk_size',))}"
    return plain.replace("_", " ")


def _key_heads(config: PreTrainedConfig) -> int | None:
    if _read(config, "multi_query") is True and not _read(config, "new_decoder_architecture"):
        return 1
    mapped = getattr(config, "attribute_map", {})  # of Whisper: to the heads of its encoder
    return _number(config, tuple(name for name in _KEY_HEADS if mapped.get(name) not in _HEADS))


def _number(config: PreTrainedConfig, names: tuple[str, ...]) -> int | None:
    for name in names:
        value = _read(config, name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _read(config: PreTrainedConfig, name: str) -> Any:
    # Some per-layer attributes of heterogeneous configs raise when read at the top.
    try:
        return getattr(config, name, None)
    except Exception:
        return None
