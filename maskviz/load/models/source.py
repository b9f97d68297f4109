"""What a model name means, and transformers' own errors in words a user can act on."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import transformers
from safetensors import SafetensorError

from maskviz import demo
from maskviz.core.errors import CannotTraceError, MaskvizError, NotFoundError, UsageError
from maskviz.core.writing import nearest, parameter, printable
from maskviz.load.models.cached import cached_models
from maskviz.load.models.folders import base_of, folder_of_file, part_of
from maskviz.tracing.seam.replacing import replaced

_NAMES_HINT = "give a hub id, a folder, a config.json, a .gguf file or demo:bert"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from.

    Attributes:
        name: As the user wrote it.
        location: A folder or a hub id, as `from_pretrained` takes it.
        gguf_file: Name of the .gguf file in that folder, or None.
        config_only: Whether there is a config and no weights beside it.
        demo: Whether it is one of our own demo models.
        revision: Branch, tag or commit on the hub, or None.
        offline: Whether only what is on disk may be used.
        trust_remote_code: Whether code that comes with the model may run.
        adapter: Folder of an adapter of PEFT, whose base model this is, or None.
        remark: What the reader must know of what the name was taken for, or empty.
        not_read: What there is to say where a folder has no weights that are read, or empty.
    """

    name: str
    location: str
    gguf_file: str | None = None
    config_only: bool = False
    demo: bool = False
    revision: str | None = None
    offline: bool = False
    trust_remote_code: bool = False
    adapter: Path | None = None
    remark: str = ""
    not_read: str = ""

    @property
    def folder(self) -> Path:
        """Where files beside the config would lie."""
        path = Path(self.location)
        return path.parent if path.is_file() else path

    @property
    def lacks_weights(self) -> bool:
        """Whether it is a folder that should have weights and has none."""
        return self.config_only and not Path(self.name).expanduser().is_file()

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments every `from_pretrained` of this source takes."""
        arguments: dict[str, Any] = {"trust_remote_code": self.trust_remote_code}
        if self.revision is not None:
            arguments["revision"] = self.revision
        if self.offline or self.demo:
            arguments["local_files_only"] = True
        if self.gguf_file is not None:
            arguments["gguf_file"] = self.gguf_file
        return arguments


def resolve(name: str, *, revision: str | None = None, offline: bool = False, trust: bool = False) -> Source:
    """Tell a demo name, a .gguf file, a config file, a folder and a hub id apart.

    Raises:
        UsageError: an empty name or an unknown demo model.
        NotFoundError: a path that is not there, or is no model.
    """
    if not name.strip():
        raise UsageError("the model name is empty", _NAMES_HINT)
    if name.startswith("demo:"):
        return _demo(name)
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise NotFoundError(f"{name[:60]!r} is no model name: {in_one_line(str(error))[:60]}", _NAMES_HINT) from error
    if path.is_file() and (folder := folder_of_file(path)) is not None:
        path = folder
    if path.is_dir():
        return _of_folder(name, path, offline, trust)
    if path.suffix == ".json" and path.is_file():
        location = path.parent if path.name == "config.json" else path
        return Source(name, str(location), config_only=True, offline=offline, trust_remote_code=trust)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise NotFoundError(f"model file {name!r} does not exist", "check the path")
        return Source(name, str(path.parent), gguf_file=path.name, trust_remote_code=trust)
    if path.exists():
        beside = (path.parent / "config.json").is_file()
        raise NotFoundError(
            f"{name!r} is a file and no model",
            f"give its folder: {parameter('model', path.parent)}"
            if beside
            else "give a folder, its config.json, or a .gguf file",
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise NotFoundError(
            f"model folder {name!r} does not exist", "check the path; hub ids look like bert-base-uncased"
        )
    return Source(name, name, revision=revision, offline=offline, trust_remote_code=trust)


def _demo(name: str) -> Source:
    demo_name = name.removeprefix("demo:")
    if demo_name not in demo.NAMES:
        known = ", ".join(f"demo:{known}" for known in demo.NAMES)
        close = nearest(name, [f"demo:{one}" for one in demo.NAMES])
        raise UsageError(f"there is no demo model {name!r}", f"{close} there are {known}".strip())
    return Source(name, str(demo.MODELS / demo_name), demo=True)


def _of_folder(name: str, path: Path, offline: bool, trust: bool) -> Source:
    part = part_of(path, name)
    if not part.adapter:
        return Source(
            name,
            str(part.folder),
            config_only=not part.weights,
            offline=offline,
            trust_remote_code=trust,
            remark=part.remark,
            not_read=part.not_read,
        )
    base = base_of(part.folder, name)
    try:
        found = resolve(base, offline=offline, trust=trust)
    except MaskvizError as error:
        raise _without_base(name, error) from error
    remarks = (part.remark, f"an adapter on {printable(base)}", found.remark)
    return replace(found, name=name, adapter=part.folder, remark="; ".join(filter(None, remarks)))


def _without_base(name: str, error: MaskvizError) -> NotFoundError:
    return NotFoundError(
        f"adapter {name!r} cannot be put into its base model: {error.message}",
        "put the model there, or write its place into base_model_name_or_path of adapter_config.json",
    )


@contextmanager
def explained(source: Source, what: str) -> Iterator[None]:
    """Turn what `from_pretrained` raises into a MaskvizError; nothing of ours may run in the block."""
    try:
        yield
    except Exception as error:  # the libraries below it raise kinds of their own, and every one is about the input
        if source.adapter is None or what == "adapter":
            raise explanation(source, what, error) from error
        said = explanation(replace(source, name=source.location, adapter=None), what, error)
        raise (said if isinstance(said, CannotTraceError) else _without_base(source.name, said)) from error


def explanation(source: Source, what: str, error: Exception, values: str = "") -> NotFoundError | CannotTraceError:
    """What `from_pretrained` raised as a user reads it; `values` are those of the config that it is about."""
    said = str(error)
    lowered = said.lower()
    if "trust_remote_code" in said or "remote code" in lowered:
        return CannotTraceError(
            f"model {source.name!r} brings its own code and {what} needs it",
            f"if you trust it, add {parameter('trust_remote_code', True)}",
        )
    if isinstance(error, ImportError) or (source.gguf_file is not None and "pip install" in said):
        return NotFoundError(f"cannot read the {what} of {source.name!r}: {in_one_line(said)}", _missing(source))
    if "does not recognize this architecture" in said:
        named = re.search(r"model type `(.*?)`", said)
        kind = f"model type {named[1]!r}" if named else "model type"
        return NotFoundError(
            f"transformers {transformers.__version__} does not know the {kind} of {source.name!r}",
            "check model_type in its config, or install a newer transformers",
        )
    if isinstance(error, SafetensorError):
        return NotFoundError(
            f"the {what} of {source.name!r} are damaged: {in_one_line(said)}", "copy or download the file again"
        )
    if isinstance(error, UnpicklingError) or "weights_only" in said:
        return _unpickled(source, said)
    if "safetensors" in lowered or "pytorch_model" in lowered:
        return NotFoundError(
            f"no usable weights in {source.name!r}: {in_one_line(said)}",
            f"maskviz reads model.safetensors, pytorch_model.bin and .gguf; {_without()} shows the masks without them",
        )
    if "ignore_mismatched_sizes" in said:
        return NotFoundError(
            f"the weights of {source.name!r} do not have the shapes its config names",
            "they belong to another config, or to code of the model's own: then add "
            f"{parameter('trust_remote_code', True)}",
        )
    if not Path(source.location).exists():
        return _not_on_hub(source, what, lowered)
    told = said.startswith("Validation error for field")  # it names the key and the value itself
    if values or told:
        about = f" (it says {values})" if values and not told else ""
        return NotFoundError(
            f"cannot load the {what} of {source.name!r}: {in_one_line(said)}{about}",
            "check that value, or install a newer transformers",
        )
    return NotFoundError(
        f"cannot load the {what} of {source.name!r}: {in_one_line(said)}",
        "its files may be damaged, or not belong together",
    )


def _unpickled(source: Source, said: str) -> NotFoundError:
    """What is said of a pickle that torch does not open: it may hold tensors, and nothing else."""
    named = re.search(r"(?:GLOBAL|global:?) ([\w.]+)", said)
    what = f" ({named[1]})" if named else ""
    return NotFoundError(
        f"the weights of {source.name!r} are a pickle that is damaged, or holds more than tensors{what} and could run "
        "code: not loaded",
        f"{_without()} shows the masks; the model's author can save it as safetensors",
    )


def _or_nearest(source: Source, hint: str) -> str:
    """A hint, behind the models of the local cache whose names are like the one that was given."""
    return f"{nearest(source.name, cached_models())} {hint}".strip()


def _not_on_hub(source: Source, what: str, lowered: str) -> NotFoundError:
    if source.offline:
        return NotFoundError(
            f"the {what} of {source.name!r} is not in the local cache",
            _or_nearest(source, f"leave out {parameter('offline')} to download it"),
        )
    if "couldn't connect" in lowered or "connection" in lowered or "offline" in lowered or "resolve" in lowered:
        return NotFoundError(
            f"cannot reach the model hub for {source.name!r}, and it is not in the local cache",
            _or_nearest(source, f"check the network, give a local folder, or try {parameter('model', 'demo:bert')}"),
        )
    if "gated" in lowered or "401" in lowered or "private" in lowered:
        return NotFoundError(
            f"model {source.name!r} does not exist on the hub, or is private or gated",
            _or_nearest(source, "check the spelling; for a gated model log in with 'hf auth login'"),
        )
    return NotFoundError(f"model {source.name!r} has no usable {what}", "check the spelling, or give a local folder")


def _missing(source: Source) -> str:
    if source.gguf_file is not None:
        return "reading .gguf files needs two more packages: pip install accelerate gguf"
    return "install the package it names"


def in_one_line(text: str) -> str:
    """An error's text on one line, cut to a readable length."""
    return " ".join(text.split())[:200] or "no reason given"


def _without() -> str:
    """How a model is built without weights."""
    return parameter("weights", False, shell="--no-weights")


# What transformers asks of the gguf package: the whole file once for the config, once for the tokenizer and once for
# the weights, and the names of all tensors once for every module of the model.
_ASKED_AGAIN = ("GGUFReader", "get_tensor_name_map")


@contextmanager
def read_once(gguf_file: str | None) -> Iterator[None]:
    """In the block, what the gguf package answered is answered again without reading; nothing is kept behind it.

    Args:
        gguf_file: The file that is read, or None where the model is none: then nothing is replaced.
    """
    gguf = _package() if gguf_file is not None else None
    names = {} if gguf is None else vars(gguf)
    with replaced(names, {name: cache(names[name]) for name in _ASKED_AGAIN if name in names}):
        yield


def _package() -> Any:
    try:
        return importlib.import_module("gguf")
    except ImportError:  # said where the file is read
        return None
