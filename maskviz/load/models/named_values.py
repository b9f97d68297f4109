"""Which values of a config an error of transformers speaks of: it names a value, and seldom where it is from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from transformers import PreTrainedConfig

from maskviz.load.models.source import Source

# What a config says of itself and not of the model.
_ABOUT = {"transformers_version", "_name_or_path", "name_or_path"}
_MOST = 4


def named_values(source: Source, error: Exception) -> tuple[str, ...]:
    """The keys of a config whose values an error names, such as "activation_function 'evil'"; words before numbers."""
    try:
        raw = {} if source.gguf_file else PreTrainedConfig.get_config_dict(source.location, **source.arguments)[0]
    except Exception:  # it cannot be read, and that is what the error is about
        return ()
    said = str(error)
    quoted = {one for pair in re.findall(r"'([^']+)'|\"([^\"]+)\"|`([^`]+)`", said) for one in pair if one}
    numbers = set(re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\d)", said))
    words, counts = [], []
    for key, value in _leaves(raw if isinstance(raw, dict) else {}, ""):
        if isinstance(value, str) and value in quoted:
            words.append(f"{key} {value!r}")
        elif isinstance(value, int | float) and not isinstance(value, bool) and str(value) in numbers:
            counts.append(f"{key} {value}")
    return tuple(words or counts)[:_MOST]


def _leaves(config: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{before}{key}.")
        elif key not in _ABOUT:
            yield f"{before}{key}", value
