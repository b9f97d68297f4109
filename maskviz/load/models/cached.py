"""Which models of the hub are on this machine, by the folders of its cache; needs no library."""

from __future__ import annotations

import os
from pathlib import Path

_PREFIX = "models--"


def hub_cache() -> Path:
    """The folder huggingface_hub keeps models in, by the variables it reads."""
    if own := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(own).expanduser()
    home = os.environ.get("HF_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(home).expanduser() / "hub"


def cached_models() -> tuple[str, ...]:
    """Ids of the models in the cache, in order; none where there is no cache."""
    try:
        names = [one.name for one in hub_cache().iterdir() if one.name.startswith(_PREFIX)]
    except OSError:
        return ()
    return tuple(sorted(name.removeprefix(_PREFIX).replace("--", "/", 1) for name in names))
