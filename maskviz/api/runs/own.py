"""A run of a module or a Keras model of somebody's own: made ready, listened to, with heads silenced. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.analyse.comparison import compare
from maskviz.api.runs.head_masks import Gates, head_mask_for
from maskviz.api.watcher import Watcher
from maskviz.core.errors import UsageError
from maskviz.core.results.results import Comparison
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import ModelCard
from maskviz.core.writing import either
from maskviz.load.inputs.files import read_inputs, read_labels
from maskviz.load.inputs.module_inputs import ModuleInputs, module_inputs
from maskviz.load.models.adapters import is_adapted, virtual_tokens
from maskviz.load.models.own_module import (
    card_of_module,
    is_compiled,
    module_named,
    own_module,
    padding_ids,
    vocabularies_of,
)
from maskviz.load.texts.encode import token_labels
from maskviz.store.saved import Saved
from maskviz.tracing.modules.axes import Said
from maskviz.tracing.modules.keras_layers import is_keras, keras_card_facts, keras_vocabularies
from maskviz.tracing.modules.reading import Known, Labels
from maskviz.tracing.modules.run import ModuleRun, Subject, run_module, run_module_gated
from maskviz.tracing.modules.subjects import KerasSubject, TorchSubject
from maskviz.tracing.run import head_groups, head_shapes
from maskviz.tracing.seam.replacing import alone


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """A module that somebody has at hand, and its inputs.

    Attributes:
        module: A torch module, bare or wrapped, or a layer or model of Keras.
        inputs: The arguments of its forward, as `module_inputs` takes them; or texts for a tokenizer.
        name: What to call it, "" for its class.
        said: What is said of axes.
        labels, target_labels: Names of positions, [batch][position].
        tokenizer: What makes inputs of texts and names of ids, or None.
        moved: Whether the inputs are brought to the module's device.
    """

    module: Any
    inputs: Any = None
    name: str = ""
    said: Said = field(default_factory=Said)
    labels: Labels | None = None
    target_labels: Labels | None = None
    tokenizer: Any = None
    moved: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class OwnReady:
    """A module with its inputs.

    Attributes:
        own: The module and its inputs, as they were given.
        subject: What is run.
        known: What is known beside what will be heard.
        vocabularies: Sizes of its tables of embeddings.
        notes: What its reader must know.
        tokenizer: What names ids, or None.
    """

    own: Own
    subject: Subject
    known: Known
    vocabularies: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    tokenizer: Any = None


def is_own(model: object) -> bool:
    """Whether this is a module or Keras model that is none of transformers'.

    Raises:
        UsageError: a module scripted by torch.jit.
    """
    return is_keras(model) or own_module(model) is not None


def own_named(
    spec: str, inputs: Path | None, *, labels: Path | None = None, batch_size: int | None = None, num_heads: int | None
) -> Own:
    """A module that `FILE.py:NAME` or `package.module:NAME` builds, with the inputs that lie in a file.

    Raises:
        MaskvizError: as `module_named`, `read_inputs` and `read_labels`; or what is built is no module.
    """
    found = module_named(spec)
    if not is_own(found):
        is_model = isinstance(found, PreTrainedModel) or is_adapted(found)
        what = "a model of transformers" if is_model else "no torch module or Keras model"
        hint = "'maskviz show -m FOLDER' takes what save_pretrained wrote" if is_model else "return one from it"
        raise UsageError(f"--module {spec} is {what} ({type(found).__name__})", hint)
    named = None if labels is None else read_labels(labels)
    given = None if inputs is None else read_inputs(inputs)
    return Own(found, given, spec, Said(batch_size, num_heads), named, moved=True)


def own_ready(own: Own) -> OwnReady:
    """Bring a module and its inputs together.

    Raises:
        UsageError: there are no inputs, or they do not fit.
    """
    if own.inputs is None:
        raise UsageError(
            f"there are no inputs for {own.name or type(own.module).__name__}",
            either(
                "give the arguments of its forward: {'src': tensor}",
                "give --inputs FILE: .npz, .pt, .safetensors, .json",
            ),
        )
    if is_keras(own.module):
        inputs = _arrays(own.inputs)
        vocabularies = frozenset(keras_vocabularies(own.module))
        return OwnReady(own, KerasSubject(own.module, own.inputs), _known(own, _keras_card(own), inputs), vocabularies)
    module = own_module(own.module)
    assert module is not None
    texts, given = _of_texts(own)
    inputs = module_inputs(module, given, moved=own.moved)
    known = _known(own, card_of_module(module, own.name), inputs)
    known = replace(known, texts=texts, pads=padding_ids(module))
    notes = ("torch.compile: what is compiled ran as it is written",) if is_compiled(own.module) else ()
    subject = TorchSubject(module, inputs.positional, inputs.named)
    return OwnReady(own, subject, known, vocabularies_of(module), notes, own.tokenizer)


def _of_texts(own: Own) -> tuple[tuple[str, ...], Any]:
    """Texts as a tokenizer has them, and what it makes of them; inputs as they are."""
    given = [own.inputs] if isinstance(own.inputs, str) else own.inputs
    if not isinstance(given, Sequence) or not given or not all(isinstance(one, str) for one in given):
        return (), own.inputs
    tokenizer = own.tokenizer or getattr(own.module, "tokenizer", None)
    if tokenizer is None:
        raise UsageError(
            "there is no tokenizer for the text",
            either("give tokenizer=..., or the arguments of the forward", "give --inputs FILE"),
        )
    return tuple(given), dict(tokenizer(list(given), return_tensors="pt", padding=len(given) > 1))


def _keras_card(own: Own) -> ModelCard:
    """What a model of Keras is; its layers and heads are those that will be heard."""
    facts = keras_card_facts(own.module)
    return ModelCard(
        own.name or facts.architecture,
        facts.architecture,
        "Keras model",
        encoder_decoder=False,
        layers=(),
        heads=(),
        key_heads=(),
        parameters=facts.parameters,
        dtype=facts.dtype,
        device=f"{facts.device.removeprefix('keras on ')} (Keras)",
    )


def _arrays(inputs: Any) -> ModuleInputs:
    """The arrays among the inputs of a Keras model."""

    def tensor(one: Any) -> Any:
        try:
            return torch.as_tensor(np.asarray(one))
        except (TypeError, ValueError, RuntimeError):
            return one

    if isinstance(inputs, Mapping):
        return ModuleInputs(named={str(name): tensor(one) for name, one in inputs.items()})
    several = inputs if isinstance(inputs, list | tuple) else (inputs,)
    return ModuleInputs(tuple(tensor(one) for one in several))


def _known(own: Own, card: ModelCard, inputs: ModuleInputs) -> Known:
    ids = inputs.ids
    tokenizer = own.tokenizer or getattr(own.module, "tokenizer", None)
    tokens = tuple(token_labels(tokenizer, one) for one in ids) if hasattr(tokenizer, "convert_ids_to_tokens") else ()
    virtual = virtual_tokens(own.module)
    return Known(card, inputs.leading, ids, own.said, own.labels, own.target_labels, tokens, virtual=virtual)


def own_ran(watcher: Watcher, ready: OwnReady) -> ModuleRun:
    """Run a module and listen to it; its notes stand in front.

    Raises:
        CannotTraceError: it raises, or no attention is heard.
    """
    watcher.progress(f"running {ready.known.card.architecture} ...")
    ran = run_module(ready.subject, ready.known, ready.vocabularies)
    return replace(ran, trace=replace(ran.trace, notes=(*ready.notes, *ran.trace.notes)))


def own_traced(watcher: Watcher, ready: OwnReady, head_mask: Gates | None = None) -> Saved:
    """Trace a module; with a head mask, before and after.

    Raises:
        CannotTraceError: it raises, or no attention is heard.
        UsageError: the head mask does not fit.
    """
    return own_saved(ready, own_ran(watcher, ready), head_mask)


def own_saved(ready: OwnReady, ran: ModuleRun, head_mask: Gates | None = None) -> Saved:
    """A run as it is saved; with a head mask, before and after.

    Raises:
        UsageError: the head mask does not fit.
    """
    if head_mask is None:
        return Saved(ran.trace)
    mask = head_mask_for(head_mask, head_shapes(ran.trace), head_groups(ran.trace))
    return own_gated(ready, ran, mask)


def rerun_of(watcher: Watcher, ready: OwnReady) -> Callable[[HeadMask], Saved]:
    """What runs a module again with heads silenced, one thread after the other: listening has the whole process."""
    ran = own_ran(watcher, ready)

    def rerun(mask: HeadMask) -> Saved:
        with alone():
            return own_gated(ready, ran, mask)

    return rerun


def own_gated(ready: OwnReady, ran: ModuleRun, mask: HeadMask) -> Saved:
    """Run again with gates on heads, beside the plain run.

    Raises:
        UsageError: the mask names a head that did not run.
    """
    after = run_module_gated(ran, mask)
    change = compare(ran.trace, after)
    return Saved(after, ran.trace, change, _names(ready, change))


def _names(ready: OwnReady, change: Comparison) -> dict[int, str]:
    if change.labels or not hasattr(ready.tokenizer, "convert_ids_to_tokens"):
        return {}
    listed = sorted({one.index for place in change.places for one in place.candidates})
    labels = token_labels(ready.tokenizer, np.array([listed], dtype=np.int64))
    return dict(zip(listed, labels[0], strict=True))
