"""A small config for any model type, by generic rules: few layers, but every kind of layer the config names."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import transformers
from transformers import PreTrainedConfig, configuration_utils

from tools.tiny_exceptions import EXCEPTIONS
from tools.tiny_numbers import HEAD, HEADS, LOCAL, VOCABULARY, WIDTH, Scale, shrunk_number

_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers")
_HEADS = (
    "num_attention_heads",
    "n_head",
    "n_heads",
    "num_heads",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "encoder_num_attention_heads",
)
_WIDTHS = ("hidden_size", "d_model", "n_embd", "embed_dim", "dim", "emb_dim")
_MOST_LAYERS = 8
# Every word for a kind of layer, under the name it has in this release.
_KINDS: tuple[str, ...] = getattr(configuration_utils, "ALLOWED_LAYER_TYPES", None) or (
    configuration_utils.ALLOWED_ATTENTION_LAYER_TYPES  # type: ignore[attr-defined]
)
# Kinds of layers that say what a layer does beside attention.
_NOT_ATTENTION = {"sparse", "dense", "moe", "mlp"}
# Written by the library, not by whoever configures a model.
_NOT_GIVEN = {"model_type", "transformers_version", "architectures", "id2label", "label2id", "dtype", "return_dict"}

# Numbers some defaults leave open although the model's code needs them, given where a config has such a field.
_OPEN: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "head_dim": HEAD,
    "num_key_value_heads": HEADS,
    "num_experts": 4,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "top_k_experts": 2,
    "moe_intermediate_size": WIDTH,
    "mlp_layer_types": ["dense", "sparse"],
    "pad_token_id": 0,
}


def tiny_configs(config_class: type[PreTrainedConfig]) -> Iterator[PreTrainedConfig]:
    """The config class's own default, shrunk: first with every kind of layer its code knows, then as it is.

    Many defaults name full attention alone where checkpoints have windows; not every code runs with all it names.
    """
    changed = EXCEPTIONS.get(config_class.model_type or config_class.__name__, {})
    for every_kind in (True, False):
        try:
            yield _shrunk(_default(config_class), Wish({}, every_kind), changed)
        except Exception:
            if not every_kind:
                raise


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What all parts of a config are shrunk by.

    Attributes:
        special: Ids of special tokens, by name.
        every_kind: Whether the layers are to be of every kind the code knows.
    """

    special: dict[str, int]
    every_kind: bool


def _default(config_class: Any) -> PreTrainedConfig:
    """A config as its class makes it; those that are nothing without their parts get BERTs for parts."""
    parts: dict[str, Any] = {}
    if config_class.model_type == "encoder-decoder":
        decoder = transformers.BertConfig(is_decoder=True, add_cross_attention=True)
        parts = {"encoder": transformers.BertConfig().to_dict(), "decoder": decoder.to_dict()}
    config: PreTrainedConfig = config_class(**parts)
    return config


def _shrunk(config: PreTrainedConfig, wish: Wish, changed: dict[str, Any]) -> PreTrainedConfig:
    """A config of the same class, each field shrunk; parts that are configs themselves likewise.

    `changed` is what is given instead of what the rules make, a part's fields as "part.field".
    """
    values = {name: value for name, value in config.to_dict().items() if name not in _NOT_GIVEN}
    kept = _kept_layers(values)
    scale = Scale(
        layers=len(kept),
        layers_before=_first(values, _LAYERS),
        width=_first(values, _WIDTHS),
        heads=_first(values, _HEADS),
        special=wish.special,
    )
    small: dict[str, Any] = {}
    for name, given in _given(config, values).items():
        part = _read(config, name)
        if isinstance(part, PreTrainedConfig):
            inner = EXCEPTIONS.get(str(part.model_type), {}) | _of_part(name, changed)
            # releases of transformers before 5.4 take parts as dicts alone
            small_part = _shrunk(part, wish, inner)
            small[given] = small_part if dataclasses.is_dataclass(config) else small_part.to_dict()
        else:
            small[given] = _shrunk_value(name, values[name], scale, kept)
    _fill(config, small)
    if wish.every_kind and "layer_types" not in changed:
        small |= _every_kind(config, small)
    return type(config)(**(small | {name: value for name, value in changed.items() if "." not in name}))


def _of_part(part: str, changed: dict[str, Any]) -> dict[str, Any]:
    """What is changed of a part, by the names it has there."""
    start = f"{part}."
    return {name.removeprefix(start): value for name, value in changed.items() if name.startswith(start)}


def _fill(config: PreTrainedConfig, small: dict[str, Any]) -> None:
    """Give what the default leaves open."""
    for name, value in _OPEN.items():
        if name in small and small[name] is None:
            small[name] = value
    if "vocab_size" in small or any(name.endswith("config") for name in small):
        small.setdefault("pad_token_id", 0)
    sliding = any("sliding" in str(kind) for kind in small.get("layer_types") or ())
    if sliding and "sliding_window" in small:
        small["sliding_window"] = small["sliding_window"] or LOCAL
    if "rope_parameters" in small and "vocab_size" in small and "mrope_section" in _code_of(config):
        rope = dict(small.get("rope_parameters") or {"rope_type": "default", "rope_theta": 10000.0})
        half = int(HEAD * float(rope.get("partial_rotary_factor") or 1.0)) // 2
        if not any(isinstance(one, dict) for one in rope.values()):
            small["rope_parameters"] = {"mrope_section": _sections([2, 3, 3], half)} | rope


def _every_kind(config: PreTrainedConfig, small: dict[str, Any]) -> dict[str, Any]:
    """Fields that give a config of one kind of layer one layer of each kind its code knows."""
    before = small.get("layer_types")
    if not isinstance(before, list) or len(set(before)) != 1:
        return {}
    code = _code_of(config)
    others = [kind for kind in _KINDS if kind not in _NOT_ATTENTION and f'"{kind}"' in code]
    kinds = [*before[:1], *(kind for kind in others if kind not in before)][:_MOST_LAYERS]
    if len(kinds) == 1:
        return {}
    found: dict[str, Any] = {"layer_types": kinds}
    for name, value in small.items():
        if name in _LAYERS and value == len(before):
            found[name] = len(kinds)
        elif _is_column(name, value, len(before)) and name != "layer_types" and not _names_layers(name, list(value)):
            found[name] = [value[min(place, len(before) - 1)] for place in range(len(kinds))]
    local = {"sliding_window": LOCAL, "attention_chunk_size": LOCAL, "use_sliding_window": True}
    return found | {name: value for name, value in local.items() if name in small}


def _code_of(config: PreTrainedConfig) -> str:
    """The source of the file that a config's models are written in."""
    name = type(config).__module__.replace("configuration_", "modeling_")
    try:
        return inspect.getsource(importlib.import_module(name)) if "modeling_" in name else ""
    except ImportError:  # some types run the models of another
        return ""


def _given(config: Any, values: dict[str, Any]) -> dict[str, str]:
    """The fields a config is made of, by their name in its dict; whatever else is there is worked out from them."""
    if dataclasses.is_dataclass(config):
        names = {field.name for field in dataclasses.fields(config)}
    else:
        names = set(inspect.signature(type(config).__init__).parameters)
    names |= {name for name in values if isinstance(_read(config, name), PreTrainedConfig)}
    names |= {"per_layer_config", "pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"}
    spelled = {(config.attribute_map or {}).get(name, name): name for name in names}
    return {name: name if name in names else spelled[name] for name in values if name in names or name in spelled}


def _kept_layers(values: dict[str, Any]) -> list[int]:
    """The layers kept: the first of each kind, at least two, in their order.

    A kind is what all lists with one entry per layer say of it. Where the kinds come from a period instead, twice
    its tiny length is kept; where later layers share keys and values, each kind is kept twice.
    """
    count = _first(values, _LAYERS)
    if not count:
        return [0, 1]
    columns = [value for name, value in sorted(values.items()) if _is_column(name, value, count)]
    overrides = values.get("per_layer_config") or {}
    own = {int(layer): repr(one) for layer, one in overrides.items() if str(layer).isdigit()}
    first: dict[tuple[Any, ...], int] = {}
    for layer in range(count):
        first.setdefault((*(repr(column[layer]) for column in columns), own.get(layer)), layer)
    kept = sorted(sorted(first.values())[:_MOST_LAYERS])
    if any(re.search(r"kv_shared_layers$", name) and value for name, value in values.items()):
        return [*kept, *kept]
    pattern = values.get("block_types")
    if isinstance(pattern, list | tuple) and len(pattern) < count:
        return list(range(len(pattern)))
    wanted = 4 if any(re.search(r"_period$|_interval$|group_size$|every", name) for name in values) else 2
    rest = (layer for layer in range(count) if layer not in kept)
    while len(kept) < min(wanted, count):
        kept.append(next(rest))
    return sorted(kept)


def _is_column(name: str, value: Any, count: int) -> bool:
    """Whether a list says something of every layer, with few different things to say."""
    if not isinstance(value, list | tuple) or len(value) != count or "section" in name:
        return False
    return len({repr(one) for one in value}) <= _MOST_LAYERS


def _shrunk_value(name: str, value: Any, scale: Scale, kept: list[int]) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str | float):
        return value
    if isinstance(value, int):
        return shrunk_number(name, value, scale)
    if isinstance(value, dict):
        return _shrunk_dict(name, value, scale, kept)
    if isinstance(value, list | tuple):
        return _shrunk_list(name, list(value), scale, kept)
    return value


def _shrunk_dict(name: str, value: dict[Any, Any], scale: Scale, kept: list[int]) -> dict[Any, Any]:
    if name == "per_layer_config":
        found = {int(layer): one for layer, one in value.items()}
        return {
            place: {
                key: _shrunk_value(key, one, _scale_of_layer(scale, found[layer]), kept)
                for key, one in found[layer].items()
            }
            for place, layer in enumerate(kept)
            if layer in found
        }
    if name.startswith("rope") or "rope_type" in value:
        return {key: _shrunk_rope(key, one, value) for key, one in value.items()}
    return {key: _shrunk_value(str(key), one, scale, kept) for key, one in value.items()}


def _scale_of_layer(scale: Scale, overrides: dict[str, Any]) -> Scale:
    return dataclasses.replace(scale, heads=_first(overrides, _HEADS) or scale.heads)


def _shrunk_rope(key: str, value: Any, rope: dict[str, Any]) -> Any:
    """Rotary parameters: sections and factors cover half of the channels that are rotated."""
    if isinstance(value, dict):
        return {name: _shrunk_rope(name, one, value) for name, one in value.items()}
    half = int(HEAD * float(rope.get("partial_rotary_factor") or 1.0)) // 2
    if key == "mrope_section":
        return _sections(value, half)
    if key in ("short_factor", "long_factor"):
        return value[:half]
    return value


def _sections(sections: list[int], total: int) -> list[int]:
    """Sections in the same proportions that add up to `total`; the last takes what rounding leaves."""
    small = [max(1, total * one // sum(sections)) for one in sections[:-1]]
    return [*small, max(0, total - sum(small))]


def _shrunk_list(name: str, value: list[Any], scale: Scale, kept: list[int]) -> list[Any]:
    numbers = all(isinstance(one, int) and not isinstance(one, bool) for one in value)
    if re.search(r"token_ids?$", name):
        return [scale.id_of(f"{name}{place}") if "eos" not in name else 2 for place in range(len(value))]
    if len(value) == scale.layers_before and "section" not in name and not _names_layers(name, value):
        return [_shrunk_value(name, value[layer], scale, kept) for layer in kept]
    if _names_layers(name, value):
        return _renumbered(value, scale, kept)
    if numbers and re.search(r"embed_dim$|hidden_sizes$", name):  # the widths of a pyramid, each twice the one before
        return [max(8, one // 8) for one in value]
    if numbers and re.search(r"window", name):
        return [min(one, LOCAL) for one in value]
    return value


def _names_layers(name: str, value: list[Any]) -> bool:
    """Whether a list holds numbers of layers, each once, such as `cross_attention_layers`."""
    numbers = all(isinstance(one, int) and not isinstance(one, bool) for one in value)
    different = len(set(map(repr, value))) == len(value)
    return numbers and different and bool(re.search(r"layer|idx|indexes|indices|_ids$", name))


def _renumbered(value: list[int], scale: Scale, kept: list[int]) -> list[int]:
    """Numbers of layers among those kept; the last one where none of them is."""
    if not value:
        return value
    if any(one < 0 for one in value):
        return [max(one, -scale.layers) for one in value]
    places = [place for place, layer in enumerate(kept) if layer in value]
    return places or [scale.layers - 1]


def _first(values: dict[str, Any], names: tuple[str, ...]) -> int:
    for name in names:
        value = values.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return 0


def _read(config: PreTrainedConfig, name: str) -> Any:
    # Some per-layer attributes of heterogeneous configs raise when read at the top.
    try:
        return getattr(config, name, None)
    except Exception:
        return None
