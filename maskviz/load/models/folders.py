"""Which part of a folder is the model: of a trainer's, of PEFT's, of sentence-transformers', of the hub's cache."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskviz.core.errors import NotFoundError
from maskviz.core.writing import parameter, printable

# The files `from_pretrained` reads weights from; numbered parts are found through an index.
_READ = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_ADAPTER, _ADAPTER_WEIGHTS = "adapter_config.json", ("adapter_model.safetensors", "adapter_model.bin")
_PART = re.compile(r"(model|pytorch_model)-\d+-of-\d+\.(safetensors|bin)")
# Files that hold weights by their suffixes, and the state of a training, which has the same suffixes.
_HOLD_WEIGHTS = ("safetensors", "bin", "pt", "pth", "ckpt", "onnx", "h5", "msgpack", "tflite", "gguf", "npz", "xml")
_TRAINING = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state.*|random_states.*)\.")
# Where exports for other programs lie beside a config.
_EXPORTS = ("", "onnx", "openvino", "tflite", "tf", "flax")
# Parts of parts: a trainer's folder of adapters of sentence-transformers is three deep.
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class FolderPart:
    """The part of a folder that is the model.

    Attributes:
        folder: Where its config lies, or the adapter's.
        adapter: Whether it is an adapter, which names its base model.
        weights: Whether weights lie beside the config that are read.
        remark: What the reader must know of the choice, or empty.
        not_read: Which weights were passed over where none are read, or empty.
    """

    folder: Path
    adapter: bool = False
    weights: bool = True
    remark: str = ""
    not_read: str = ""


def part_of(folder: Path, name: str, depth: int = 0) -> FolderPart:
    """The part of a folder that is the model; the folder itself where it has a config.

    Args:
        folder: The folder.
        name: As the user wrote it.
        depth: How many folders this one was found in.

    Raises:
        NotFoundError: there is no such part, or more than one; the hint names them.
    """
    inner = None if depth >= _DEEPEST else _inner(folder)
    if (folder / "config.json").is_file() and (inner is None or has_weights(folder)):
        return FolderPart(folder, weights=has_weights(folder), not_read=_not_read(folder))
    if (folder / _ADAPTER).is_file():
        return FolderPart(folder, adapter=True)
    if inner is None:
        raise _nothing(folder, name)
    found = part_of(inner, name, depth + 1)
    return found if inner.parent.name == "snapshots" else replace(found, remark=_chosen(folder, inner, found))


def has_weights(folder: Path) -> bool:
    """Whether weights lie in a folder that `from_pretrained` reads."""
    return any((folder / name).is_file() for name in _READ)


def folder_of_file(path: Path) -> Path | None:
    """The folder a weights file, an index or an adapter's config stands for; None for a file that stands for none."""
    named = path.name in (*_READ, _ADAPTER, *_ADAPTER_WEIGHTS)
    return path.parent if named or (_PART.fullmatch(path.name) and has_weights(path.parent)) else None


def has_adapter_weights(folder: Path) -> bool:
    """Whether an adapter's weights lie in a folder."""
    return any((folder / name).is_file() for name in _ADAPTER_WEIGHTS)


def read_adapter(folder: Path, name: str) -> dict[str, Any]:
    """What the config of an adapter says.

    Raises:
        NotFoundError: it is none.
    """
    said = read_json(folder / _ADAPTER)
    if not isinstance(said, dict):
        raise NotFoundError(f"the {_ADAPTER} of {name!r} is damaged", "copy or download the file again")
    return said


def base_of(folder: Path, name: str) -> str:
    """The name of the model an adapter belongs to.

    Raises:
        NotFoundError: the adapter does not say, or names another adapter.
    """
    base = read_adapter(folder, name).get("base_model_name_or_path")
    if not isinstance(base, str) or not base.strip():
        raise NotFoundError(
            f"adapter {name!r} does not say which model it belongs to",
            f"write base_model_name_or_path into its {_ADAPTER}",
        )
    path = Path(base)
    if (path / _ADAPTER).is_file() and not (path / "config.json").is_file():
        raise NotFoundError(f"adapter {name!r} belongs to {base!r}, which is an adapter, too", "merge that one first")
    return base


def read_json(path: Path) -> Any:
    """What a small file of JSON holds; None where it holds none."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None


def _inner(folder: Path) -> Path | None:
    """The subfolder that stands for a folder, by the layouts that say so themselves."""
    return _snapshot(folder) or _first_module(folder) or _last_checkpoint(folder)


def _snapshot(folder: Path) -> Path | None:
    """In a repository of the hub's cache: what its main branch, or its only snapshot, is."""
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return None
    reference = folder / "refs" / "main"
    try:
        commit = reference.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        commit = ""
    if re.fullmatch(r"\w+", commit) and (snapshots / commit).is_dir():
        return snapshots / commit
    all_of_them = [one for one in snapshots.iterdir() if one.is_dir()]
    return all_of_them[0] if len(all_of_them) == 1 else None


def _first_module(folder: Path) -> Path | None:
    """In a folder of sentence-transformers: its first module that has a transformer's config."""
    modules = read_json(folder / "modules.json")
    for module in modules if isinstance(modules, list) else ():
        path = module.get("path") if isinstance(module, dict) else None
        inside = folder / path if isinstance(path, str) and path else folder
        if not inside.resolve().is_relative_to(folder.resolve()):
            continue
        if inside != folder and _is_model(inside):
            return inside
    return None


def _last_checkpoint(folder: Path) -> Path | None:
    numbered = {
        int(found[1]): one
        for one in _folders(folder)
        if (found := re.fullmatch(r"checkpoint-(\d{1,18})", one.name)) and _is_model(one)
    }
    return numbered[max(numbered)] if numbered else None


def _is_model(folder: Path) -> bool:
    config = read_json(folder / "config.json")
    return (isinstance(config, dict) and "model_type" in config) or (folder / _ADAPTER).is_file()


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(one for one in folder.iterdir() if one.is_dir())
    except OSError:
        return []


def _chosen(folder: Path, inner: Path, found: FolderPart) -> str:
    """A sentence on the choice of a subfolder."""
    others = len([one for one in _folders(folder) if re.fullmatch(r"checkpoint-\d+", one.name)]) - 1
    last = f", the last of {others + 1} checkpoints" if inner.name.startswith("checkpoint-") and others else ""
    sentence = f"the model is {printable(str(inner.relative_to(folder)))} of this folder{last}"
    return f"{sentence}; {found.remark}" if found.remark else sentence


def _not_read(folder: Path) -> str:
    """A sentence on a folder without weights that are read: which ones were passed over; empty where there are none."""
    if has_weights(folder):
        return ""
    passed_over = [printable(str(one.relative_to(folder))) for one in _other_weights(folder)]
    if not passed_over:
        return ""
    named = ", ".join(passed_over[:3]) + (", ..." if len(passed_over) > 3 else "")
    was = "was" if len(passed_over) == 1 else "were"
    return f"{named} {was} passed over, {_way_out(folder, passed_over)}: masks alone"


def _way_out(folder: Path, passed_over: list[str]) -> str:
    gguf = next((one for one in passed_over if one.endswith(".gguf")), None)
    if gguf is not None:
        return f"{parameter('model', printable(str(folder / gguf)))} reads it"
    return "since weights are read from model.safetensors, pytorch_model.bin and .gguf files"


def _other_weights(folder: Path) -> Iterator[Path]:
    for place in _EXPORTS:
        here = folder / place
        for file in sorted(here.iterdir()) if here.is_dir() else ():
            if file.is_file() and file.suffix[1:] in _HOLD_WEIGHTS and not _TRAINING.match(file.name):
                yield file


def _nothing(folder: Path, name: str) -> NotFoundError:
    """What a folder holds that is no model, and where the models in it are."""
    message = f"folder {name!r} has no config.json"
    files = sorted(folder.glob("*.gguf"))
    if files:
        return NotFoundError(message, f"for its .gguf file write {parameter('model', files[0])}")
    cached = [one.name.removeprefix("models--").replace("--", "/") for one in folder.glob("models--*")]
    if cached:
        return NotFoundError(
            f"folder {name!r} is a cache of the hub with {len(cached)} models",
            f"name one of them: {parameter('model', printable(sorted(cached)[0]))}",
        )
    inside = [one for one in _folders(folder) if _is_model(one)]
    if inside:
        listed = ", ".join(printable(one.name) for one in inside[:4]) + (", ..." if len(inside) > 4 else "")
        return NotFoundError(
            f"{message}; there are models in {listed}", f"name one of them: {parameter('model', inside[0])}"
        )
    modules = read_json(folder / "modules.json")
    if isinstance(modules, list) and modules and isinstance(modules[0], dict):
        kind = printable(str(modules[0].get("type", "")).rpartition(".")[2])
        return NotFoundError(
            f"{name!r} is a model of sentence-transformers whose first part is {kind or 'unnamed'}",
            "parts of the kind Transformer have attention",
        )
    if has_weights(folder) or any(_other_weights(folder)):
        return NotFoundError(f"{message}, only weights", "copy the config.json of the model they belong to beside them")
    return NotFoundError(message, "give a folder written by save_pretrained")
