"""A module that somebody has at hand: unwrapped, refused where nothing of it can be heard, and what it is."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.parameter import is_lazy
from transformers import PreTrainedModel

from maskviz.core.errors import CannotTraceError, NotFoundError, UsageError
from maskviz.core.run.trace import ModelCard
from maskviz.core.writing import nearest
from maskviz.load.models.adapters import is_adapted, virtual_tokens
from maskviz.tracing.seam.torch_names import is_compiled_in_place

# What wraps a module and calls it as it is; under each name the module lies.
_WRAPPERS = ("_orig_mod", "module")
_WRAPPING = ("OptimizedModule", "DataParallel", "DistributedDataParallel")


def own_module(model: object) -> torch.nn.Module | None:
    """The torch module of a user's own in what was given; None for a model of transformers, or what is no module.

    A `PeftModel` that puts tokens of its own in front of every text (prompt and prefix tuning) is one, too.

    Raises:
        UsageError: it was scripted by torch.jit, so that no Python is left to listen to; or is lazy and never ran.
    """
    while isinstance(model, torch.nn.Module) and type(model).__name__ in _WRAPPING:
        model = next(one for name in _WRAPPERS if (one := getattr(model, name, None)) is not None)
    if not isinstance(model, torch.nn.Module) or isinstance(model, PreTrainedModel):
        return None
    # One that learned tokens of its own is run with them; else what is in its layers is the model's.
    if is_adapted(model) and isinstance(model.get_base_model(), PreTrainedModel):  # type: ignore[operator]
        return model if virtual_tokens(model) else None
    scripted = next((path for path, part in model.named_modules() if isinstance(part, torch.jit.ScriptModule)), None)
    if scripted is not None:
        which = f"{scripted} of the module" if scripted else "the module"
        raise UsageError(
            f"{which} was scripted by torch.jit: its Python, which would be listened to, is gone",
            "give the module it was made from",
        )
    lazy = next((path for path, one in model.named_parameters() if is_lazy(one)), None)
    if lazy is not None:
        raise UsageError(
            f"{type(model).__name__} is not made whole yet: {lazy} gets its shape from the first call",
            "call the module once with these inputs, then look at it",
        )
    return model


def is_compiled(model: object) -> bool:
    """Whether something in a model runs compiled when nobody listens."""
    parts = model.modules() if isinstance(model, torch.nn.Module) else ()
    return any(type(part).__name__ == "OptimizedModule" or is_compiled_in_place(part) for part in parts)


def card_of_module(module: torch.nn.Module, name: str = "") -> ModelCard:
    """What a module is, before anything of it has run: no layers and no heads yet."""
    first = next(module.parameters(), None)
    named = type(module.get_base_model() if is_adapted(module) else module).__name__  # type: ignore[operator]
    return ModelCard(
        name or named,
        named,
        "torch module",
        encoder_decoder=False,
        layers=(),
        heads=(),
        key_heads=(),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        dtype="float32" if first is None else str(first.dtype).removeprefix("torch."),
        device="cpu" if first is None else ", ".join(dict.fromkeys(str(one.device) for one in module.parameters())),
    )


def vocabularies_of(module: torch.nn.Module) -> frozenset[int]:
    """Sizes of the tables of embeddings in a module."""
    return frozenset(part.num_embeddings for part in module.modules() if isinstance(part, torch.nn.Embedding))


def padding_ids(module: torch.nn.Module) -> frozenset[int]:
    """Ids that tables of embeddings in a module say are padding."""
    tables = [part for part in module.modules() if isinstance(part, torch.nn.Embedding)]
    return frozenset(part.padding_idx for part in tables if part.padding_idx is not None)


def module_named(spec: str) -> Any:
    """The module that `FILE.py:NAME` or `package.module:NAME` builds. This runs the user's own Python.

    Args:
        spec: A file or a package's module, and the name of a callable in it that needs no arguments and returns a
            module; or of a module itself.

    Raises:
        UsageError: it is written otherwise, needs arguments, or is no module.
        NotFoundError: there is no such file, package or name, or its Python fails while it is read.
        CannotTraceError: it raises when it is called.
    """
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(f"--module {spec!r} names no module", "write it as FILE.py:NAME or package.module:NAME")
    source = _source(place)
    found: Any = source
    for part in name.split("."):
        if not hasattr(found, part):
            near = nearest(part, [one for one in vars(found) if not one.startswith("_")])
            raise NotFoundError(f"there is no {part!r} in {place}", near or "name a callable that returns the module")
        found = getattr(found, part)
    if isinstance(found, torch.nn.Module) or not callable(found):
        return found
    return _built(found, spec)


def _built(build: Callable[..., Any], spec: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own advice to whoever builds it
            return build()
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # raised by the call itself
            said = str(error).partition(")")[2].strip() or str(error)
            raise UsageError(
                f"--module {spec}: {said}", "name a function without arguments that returns the module"
            ) from error
        raise _failed(spec, error) from error
    except Exception as error:  # whatever the user's own code raises
        raise _failed(spec, error) from error


def _failed(spec: str, error: Exception) -> CannotTraceError:
    return CannotTraceError(
        f"--module {spec} raises {type(error).__name__}: {_first_line(error)}",
        "it is its own error; --traceback, or MASKVIZ_TRACEBACK=1, shows where",
    )


def _source(place: str) -> Any:
    """The Python of a file or of a package's module, run."""
    try:
        if place.endswith(".py") or os.sep in place:
            return _of_file(Path(place))
        with _first_on_path(Path.cwd()):
            return importlib.import_module(place)
    except (NotFoundError, UsageError):
        raise
    except ModuleNotFoundError as error:
        missing = error.name or place
        raise NotFoundError(f"there is no Python module {missing!r}", "is its package installed?") from error
    except Exception as error:  # whatever the user's own code raises while it is read
        raise NotFoundError(
            f"{place} fails while it is read: {type(error).__name__}: {_first_line(error)}",
            "--traceback, or MASKVIZ_TRACEBACK=1, shows where",
        ) from error


def _of_file(path: Path) -> Any:
    if not path.is_file():
        raise NotFoundError(f"there is no file {str(path)!r}", "give --module FILE.py:NAME")
    made = importlib.util.spec_from_file_location(path.stem, path)
    if made is None or made.loader is None:
        raise UsageError(f"{str(path)!r} is no Python file", "give --module FILE.py:NAME")
    module = importlib.util.module_from_spec(made)
    sys.modules[path.stem] = module  # dataclasses and pickles look their module up by name
    with _first_on_path(path.resolve().parent):
        made.loader.exec_module(module)
    return module


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    """Find modules beside a file first, as Python does for a script."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
