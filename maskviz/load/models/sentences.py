"""How long sentence-transformers lets a text be for a model it was saved by."""

from __future__ import annotations

from pathlib import Path

from transformers.utils.hub import cached_file

from maskviz.load.models.folders import read_json
from maskviz.load.models.source import Source

# The names sentence-transformers looks for, the newest first.
_KINDS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
_CONFIGS = tuple(f"sentence_{kind}_config.json" for kind in _KINDS)


def max_seq_length(source: Source) -> int | None:
    """Tokens sentence-transformers cuts a text to, special ones included; None where it does not say."""
    if source.demo or source.gguf_file is not None or source.adapter is not None:
        return None
    for file in _files(source):
        said = read_json(file)
        longest = said.get("max_seq_length") if isinstance(said, dict) else None
        if isinstance(longest, int) and not isinstance(longest, bool) and longest > 0:
            return longest
    return None


def _files(source: Source) -> list[Path]:
    if source.folder.is_dir():
        return [file for name in _CONFIGS if (file := source.folder / name).is_file()]
    try:  # one file of the hub's: it is there, or this is no model of sentence-transformers
        arguments = {name: value for name, value in source.arguments.items() if name != "trust_remote_code"}
        found = cached_file(source.location, _CONFIGS[0], _raise_exceptions_for_missing_entries=False, **arguments)
    except Exception:  # as with a tokenizer: whatever it is, it is about the files
        return []
    return [Path(found)] if found else []
