"""Which classes transformers' auto classes build for a config."""

from __future__ import annotations

from typing import Any

import transformers
from transformers import AutoModel, BertConfig, PreTrainedConfig

from maskviz.tracing.seam.replacing import Canary


def classes_built_by(auto: Any, config: PreTrainedConfig) -> tuple[type, ...]:
    """The classes an auto class has for a config, the one it builds first; none where it has none."""
    mapping = getattr(auto, "_model_mapping", None)
    known: Any = None if mapping is None else mapping.get(type(config), None)
    return known if isinstance(known, tuple) else () if known is None else (known,)


def auto_classes_of(model: type, config: PreTrainedConfig) -> list[str]:
    """The names of the auto classes that build a class for a config."""
    autos = {name: getattr(transformers, name) for name in sorted(dir(transformers)) if name.startswith("AutoModel")}
    return [name for name, auto in autos.items() if model in classes_built_by(auto, config)]


def _knows_bert() -> bool:
    return [one.__name__ for one in classes_built_by(AutoModel, BertConfig())] == ["BertModel"]


CANARIES = (Canary("the table of auto classes", "transformers", _knows_bert),)
