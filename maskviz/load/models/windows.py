"""What a config says of windows and chunks: claims, to be held against what the model's own code does."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from transformers import PreTrainedConfig

from maskviz.load.models.card import text_part

# Names under which configs keep the reach of their local layers. Windows of audio and image encoders, and the chunks
# state-space layers are computed in, have other names or lie in other parts of a config.
_NAMES = re.compile(
    r"(sliding_windows?|sliding_window_size|(local_|attention_)?window_size|(local_)?attention_window(_len)?"
    r"|local_attention|attention_chunk_size|attn_window_size)$"
)
# And how many keys of each query a layer keeps that chooses them by their content.
_CHOICES = re.compile(r"(index_topk|keep_window_size)$")


def claimed_windows(config: PreTrainedConfig, raw: Mapping[str, Any]) -> dict[str, int]:
    """Windows and chunks a config names, by the name they have there, in tokens.

    Args:
        config: The config; what its class makes up for itself counts, too.
        raw: The dictionary in its file, which may name a window that its class drops.

    Returns:
        The largest number of each name, for the text part of a composite config and what it has at the top.
    """
    return _claims(_NAMES, config, raw)


def claimed_choices(config: PreTrainedConfig, raw: Mapping[str, Any]) -> dict[str, int]:
    """How many keys a config lets a query choose by their content, as `claimed_windows` names windows."""
    return _claims(_CHOICES, config, raw)


def _claims(pattern: re.Pattern[str], config: PreTrainedConfig, raw: Mapping[str, Any]) -> dict[str, int]:
    part = _name_of_text_part(config)
    found: dict[str, int] = {}
    for names in (raw, _as_dict(raw.get(part)), _own(config), _own(text_part(config))):
        for name, value in names.items():
            numbers = list(_numbers(value)) if pattern.match(str(name)) else []
            if numbers:
                found[str(name)] = max(*numbers, found.get(str(name), 0))
    return found


def unused_because(config: PreTrainedConfig, raw: Mapping[str, Any], layers: int) -> str:
    """What in a config keeps its layers from having the window it names, in words; "" where nothing does, so that the
    code of the model must be what does not read it."""
    part = text_part(config)
    if getattr(part, "use_sliding_window", None) is False:
        said = "says" if "use_sliding_window" in _said(config, raw) else "by default has"
        return f"the config {said} use_sliding_window: false"
    full = getattr(part, "max_window_layers", None)
    if isinstance(full, int) and full >= layers:
        own = "" if "max_window_layers" in _said(config, raw) else ", its default,"
        return f"max_window_layers is {full}{own} and there are {layers} layers"
    kinds = getattr(part, "layer_types", None)
    if isinstance(kinds, list | tuple) and kinds and set(map(str, kinds)) == {"full_attention"}:
        return "layer_types calls every layer full_attention"
    return ""


def _said(config: PreTrainedConfig, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the config file itself says, of the part that reads text."""
    return {**raw, **_as_dict(raw.get(_name_of_text_part(config)))}


def with_numbers(config: PreTrainedConfig, names: Iterable[str], size: int) -> PreTrainedConfig:
    """A copy of a config in which every field of these names, of those it has, is `size`."""
    changed = copy.deepcopy(config)
    for part in {id(one): one for one in (changed, text_part(changed))}.values():
        for name in names:
            value = _own(part).get(name)
            if value is not None:
                setattr(part, name, [size] * len(value) if isinstance(value, list | tuple) else size)
    return changed


def _name_of_text_part(config: PreTrainedConfig) -> str:
    part = text_part(config)
    return next((name for name, value in vars(config).items() if value is part), "")


def _own(config: PreTrainedConfig) -> dict[str, Any]:
    return {name: value for name, value in vars(config).items() if not isinstance(value, PreTrainedConfig)}


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _numbers(value: Any) -> Iterator[int]:
    for one in value if isinstance(value, list | tuple) else (value,):
        if isinstance(one, int) and not isinstance(one, bool) and one > 0:
            yield one
