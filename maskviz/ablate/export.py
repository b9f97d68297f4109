"""A model written as a folder without its silenced heads, checked before it takes its name."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel

from maskviz import __version__
from maskviz.ablate.keeping import instead, kept_heads, layout_of, narrowed_config
from maskviz.ablate.projections import Projections, projections
from maskviz.ablate.savings import saving
from maskviz.ablate.slicing import sliced
from maskviz.core.errors import CannotTraceError, NotFoundError, UsageError
from maskviz.core.results.export import Export, Kept
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import Trace
from maskviz.core.writing import plural
from maskviz.load.models.model import Loaded, load_config, load_model
from maskviz.load.models.source import in_one_line, resolve
from maskviz.tracing.calling import Inputs, largest_difference, main_output
from maskviz.tracing.run import gated_output
from maskviz.tracing.seam.auto_classes import auto_classes_of
from maskviz.tracing.seam.implementations import running

MODELLING_FILE = "modeling_pruned"
# Largest share of the outputs' own size that leaving heads out may move them by: sums are added in another order.
_ROUNDING = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
_LENGTH = 128


def check_folder(path: Path) -> None:
    """Make sure that a folder can be written, before any work is done for it.

    Raises:
        UsageError: it is there and not empty, or is a file.
        NotFoundError: the folder it is to be in does not exist or may not be written.
    """
    try:
        if path.exists() and not path.is_dir():
            raise UsageError(f"cannot export to {str(path)!r}: it is a file", "name a folder that does not exist")
        if path.is_dir() and any(path.iterdir()):
            raise UsageError(f"folder {str(path)!r} is not empty", "name one that is empty or does not exist")
        parent = path.resolve().parent
        if not parent.is_dir():
            raise NotFoundError(f"folder {str(parent)!r} does not exist", "make it first")
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, a loop of links, no permission
        said = getattr(error, "strerror", None) or str(error)
        raise NotFoundError(f"cannot export to {str(path)[:60]!r}: {said}", "choose another name") from error
    if not os.access(parent, os.W_OK):
        raise NotFoundError(f"cannot export to {str(path)!r}: permission denied", "choose another place")


def export(
    loaded: Loaded, inputs: Inputs, plain: Trace, head_mask: HeadMask, folder: Path, *, seconds: float = 20.0
) -> Export:
    """Write a model without its silenced heads, and say what that saves.

    The folder holds weights, config, tokenizer and generation config. It is written beside its place, loaded back and
    compared with the model under the head mask, and only then takes its name.

    Args:
        loaded: The model, with weights.
        inputs: Arguments of its forward, as `encode` returns them.
        plain: What `run` returned for them, the text fed at once.
        head_mask: Gates of 0 and 1 on heads of those calls.
        folder: Where to write; must not exist, or be empty.
        seconds: About how long to measure speed for each batch size; 0 measures none.

    Raises:
        UsageError: the folder is not empty, a gate is neither 0 nor 1, no head is silenced, or one did not run.
        NotFoundError: the folder cannot be written.
        CannotTraceError: the architecture is not on the list, or what was written does not do what the mask does.
    """
    check_folder(folder)
    kept, layout = kept_heads(loaded.model, plain, head_mask), layout_of(loaded.model)
    masked = gated_output(loaded.model, inputs, plain, head_mask)
    if masked is None:
        raise CannotTraceError(f"{type(loaded.model).__name__} returns no output to compare", "nothing was written")
    place = folder.resolve()
    try:
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name[:40]}.") as beside:
            written = Path(beside) / place.name
            _write(loaded, layout, kept, written)
            smaller = _read_back(loaded, written, trust=not layout.config)
            difference = _compared(smaller.model, inputs, plain, masked)
            paths = projections(layout, kept)
            saved = saving(loaded.model, smaller.model, paths, plain, _measured_length(loaded, plain), seconds)
            weights = sum(file.stat().st_size for file in written.glob("*.safetensors"))
            if place.is_dir():
                place.rmdir()  # it is empty; a rename onto it is not allowed everywhere
            written.rename(place)
    except Exception as error:  # safetensors reports a full disk by a kind of error of its own
        if not isinstance(error, OSError) and not type(error).__module__.startswith("safetensors"):
            raise
        said = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise NotFoundError(f"cannot write {str(folder)!r}: {said}", "check the disk and the folder") from error
    return Export(
        folder=folder,
        architecture=type(smaller.model).__name__,
        needs_trust=not layout.config,
        kept=kept,
        silenced=len(head_mask.changed()),
        difference=difference,
        output_size=float(masked.float().abs().max()),
        saving=saved,
        file_bytes=weights,
        notes=_notes(loaded.model, layout, kept),
    )


def _write(loaded: Loaded, layout: Projections, kept: Sequence[Kept], folder: Path) -> None:
    """Write the smaller weights with everything that goes with them, from a copy of the model's shell."""
    model = copy.copy(loaded.model)
    vars(model).pop("hf_quantizer", None)  # a .gguf file leaves it behind, though its weights are plain by now
    model.config = _config(loaded.model, layout, kept)
    # Names that transformers changes on the way to a file are changed back for its own classes alone.
    state = sliced(loaded.model, layout, kept)
    model.save_pretrained(folder, state_dict=state, save_original_format=bool(layout.config))
    if not layout.config:
        _write_code(loaded.model, layout, kept, folder)
    if loaded.tokenizer is not None:
        loaded.tokenizer.save_pretrained(folder)


def _config(model: PreTrainedModel, layout: Projections, kept: Sequence[Kept]) -> PreTrainedConfig:
    if not layout.config:
        config = copy.deepcopy(model.config)
        vars(config).pop("quantization_config", None)
        return config
    keys = len(kept[0].key)
    return narrowed_config(model.config, layout, keys, len(kept[0].query) // keys)


def _write_code(model: PreTrainedModel, layout: Projections, kept: Sequence[Kept], folder: Path) -> None:
    """Write the modelling file, and name it and the heads that stay in the config."""
    architecture = type(model).__name__
    autos = _auto_classes(model)
    exported = hasattr(transformers, architecture)
    names = {
        "architecture": architecture,
        "version": __version__,
        "auto": autos[0],
        "module": "transformers" if exported else type(model).__module__,
        "head_size": layout.head_size,
        "rows": repr(tuple(name for name, _ in layout.rows)),
        "columns": repr(layout.columns),
        "counts": repr(layout.counts),
        "widths": repr(layout.widths),
    }
    template = Template(files(__package__).joinpath("modeling_pruned.txt").read_text(encoding="utf-8"))
    (folder / f"{MODELLING_FILE}.py").write_text(template.substitute(names), encoding="utf-8")
    config = _config(model, layout, kept)
    config.architectures = [f"Pruned{architecture}"]
    config.auto_map = dict.fromkeys(autos, f"{MODELLING_FILE}.Pruned{architecture}")
    config.kept_heads = {one.module: list(one.query) for one in kept if len(one.query) < one.heads}
    config.dtype = str(model.dtype).removeprefix("torch.")
    config.save_pretrained(folder)


def _auto_classes(model: PreTrainedModel) -> list[str]:
    """The auto classes that load the model's class, `AutoModel` where none does."""
    return auto_classes_of(type(model), model.config) or ["AutoModel"]


def _read_back(loaded: Loaded, folder: Path, *, trust: bool) -> Loaded:
    """Load what was written as a user of maskviz would."""
    source = resolve(str(folder), offline=True, trust=trust)
    dtype = str(loaded.model.dtype).removeprefix("torch.")
    try:
        return load_model(source, load_config(source), device=str(loaded.model.device), dtype=dtype)
    except NotFoundError as error:  # such as a weight by head that an option of its config adds
        said = in_one_line(str(error.__cause__ or error))
        raise CannotTraceError(
            f"{type(loaded.model).__name__} does not load without its heads: {said}", instead()
        ) from error


def _compared(model: PreTrainedModel, inputs: Inputs, plain: Trace, masked: torch.Tensor) -> float:
    """Largest difference of the outputs of what was written and the masked model's, on real tokens.

    Both run eager attention, as gates do: another kernel would round otherwise, by more than leaving heads out.
    """
    with torch.no_grad(), running(model, "eager"):
        output = main_output(model(**inputs))
    difference = largest_difference(masked, output, plain.batch.decoder or plain.batch)
    size = max(1.0, float(masked.float().abs().max()))
    if difference is None or not difference <= _ROUNDING.get(masked.dtype, 1e-4) * size:
        raise CannotTraceError(
            f"what was written does not do what the head mask does: outputs of up to {size:.2g} differ by {difference}",
            "nothing was kept; please report this model",
        )
    return difference


def _measured_length(loaded: Loaded, plain: Trace) -> int:
    """128 tokens, or those of the run where the positions may not reach so far; some models reserve two of them."""
    limit = loaded.card.positions
    return _LENGTH if limit is None or limit >= _LENGTH + 2 else min(_LENGTH, plain.batch.length)


def _notes(model: PreTrainedModel, layout: Projections, kept: Sequence[Kept]) -> tuple[str, ...]:
    """What a reader would not expect: code that must be trusted, heads that stay, nothing gained."""
    notes = []
    zeroed = sum(len(one.zeroed) for one in kept)
    if not layout.config:
        notes.append(
            f"{type(model).__name__} works the size of a head out of their number, so its config cannot say that heads "
            f"are missing: the folder brings {MODELLING_FILE}.py, which needs trust_remote_code=True"
        )
        if zeroed:
            notes.append(
                f"no head would be left in {plural(zeroed, 'layer')}: one stays there, its output columns zeroed"
            )
    elif zeroed:
        shared = "; the layers of a stack share one table of positions by head" if layout.aligned else ""
        notes.append(
            f"one number of heads in the config is for all layers{shared}: {plural(zeroed, 'silenced head')} of "
            f"{zeroed + sum(one.heads - len(one.query) for one in kept)} stayed, the output columns zeroed"
        )
    if all(len(one.query) == one.heads for one in kept):
        notes.append("no projection became smaller: silence as many heads in every layer to gain by it")
    return tuple(notes)
