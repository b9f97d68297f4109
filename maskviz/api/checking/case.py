"""A model and a batch become a case: run as they are handed over, then with one thing changed. Imports torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from maskviz.ablate.mistakes import held_against
from maskviz.analyse.user_mask import with_user_mask
from maskviz.api.checking.array import MaskNumbers, array_of
from maskviz.api.models.layers import layers_of, windowed
from maskviz.api.runs.head_masks import parse_or_read_head_mask
from maskviz.api.runs.traced import Asked, Live, calling_of, loaded_for
from maskviz.api.watcher import Watcher
from maskviz.conventions.files import read_mask
from maskviz.core.arrays import BoolArray, Content, IntArray
from maskviz.core.checks.case import (
    Ablated,
    Behaviour,
    Case,
    GivenArray,
    GivenBatch,
    ModelFacts,
    PaddedText,
    Sizes,
    Tried,
    Unasked,
)
from maskviz.core.errors import CannotTraceError, MaskvizError, UsageError
from maskviz.core.rules.algebra import Rule
from maskviz.core.rules.grammar import parse_rule
from maskviz.core.rules.positions import positions_of, starts_of_blocks
from maskviz.core.run.handover import handed_groups
from maskviz.core.run.trace import Batch, Trace, crossing_of
from maskviz.core.words import Backend, Dialect, Purpose
from maskviz.load.inputs.own_batches import (
    encoded_arguments,
    encoded_rows,
    given_in,
    given_of,
    mask_of_cells,
    with_documents,
    with_special_ids,
    without_padding_ids,
)
from maskviz.load.inputs.user_mask import given_mask
from maskviz.load.models.loading import Loading
from maskviz.load.models.mask_settings import facts_of
from maskviz.load.models.model import Loaded, build_model, read_config
from maskviz.load.models.source import Source
from maskviz.load.texts.encode import Encoded, Request, encode, token_labels, without_cache
from maskviz.load.texts.request import on_text_alone
from maskviz.tracing.backends.handing import hand_over
from maskviz.tracing.calling import check_fits, to_array
from maskviz.tracing.experiments.changes import (
    broken_padding,
    counted_passes,
    drifts_by_rounding,
    leak,
    leak_tried,
    moved_by_first_text,
    moved_by_positions,
    output_size,
    padded_texts,
    returns_weights,
)
from maskviz.tracing.run import head_groups, head_shapes, run
from maskviz.tracing.seam.implementations import implementation_of


@dataclass(frozen=True, slots=True, eq=False)
class Checkable:
    """What is to be checked with a model.

    Attributes:
        request: Texts or ids to encode; without any where `rows` or `arguments` are given.
        name: What it is called.
        file: The file that is checked, or None.
        rows: A batch as it was given, or None.
        arguments: The arguments of the model's forward, as somebody made them, or None.
        unmasked: Whether no attention mask is passed.
        mask: A mask of its own with its name, or None.
        dialect: How it is to be read, None to go by its shape.
        window: Keys a query is meant to see at most.
        meant: The mask that is meant, in the words of rules.
        purpose, backend: What the batch is for, and the backend asked about; None for the model's own.
        tokenizer: A tokenizer at hand for a model by name, or None.
        head_mask, outputs: Heads somebody silenced, and the file of what came out.
    """

    request: Request
    name: str = ""
    file: Path | None = None
    rows: GivenBatch | None = None
    arguments: Mapping[str, Any] | None = None
    unmasked: bool = False
    mask: tuple[str, torch.Tensor] | None = None
    dialect: Dialect | None = None
    window: int | None = None
    meant: str | None = None
    purpose: Purpose | None = None
    backend: Backend | None = None
    tokenizer: Any = None
    head_mask: str | None = None
    outputs: Path | None = None


Value = TypeVar("Value")
# What runs behind a cache, and models without weights, cannot be asked.
_OF_TOKENS = ("P4", "P11", "L1", "L10", "N2", "N5", "N6", "K1")


class Experiment:
    """The runs of one model on one batch.

    Attributes:
        asked: What was looked at and run, a phrase each.
    """

    def __init__(
        self, loaded: Loaded, encoded: Encoded, case: Case, subject: Checkable, ran: Trace | None = None
    ) -> None:
        self._loaded, self._encoded, self._case, self._subject = loaded, encoded, case, subject
        self._ran = ran
        self.asked = ["the batch", "the config"]
        self._notes: list[str] = []
        self._unasked: list[Unasked] = []

    def behaviour(self) -> Behaviour:
        """Run the batch, and what else can be asked of it."""
        with counted_passes(self._loaded.model) as passes:
            behaviour = self._behaviour()
        return replace(behaviour, passes=passes.count, unasked=tuple(self._unasked))

    def _behaviour(self) -> Behaviour:
        loaded, encoded = self._loaded, self._encoded
        check_fits(loaded.card, encoded.batch)
        plain, trace = self._traced()
        self.asked.append(f"the masks{'' if loaded.weightless else ' and the attention'} of {len(trace.calls)} calls")
        implementation = "" if self._case.model is None else self._case.model.implementation
        backend = self._subject.backend or _named(implementation)
        behaviour = Behaviour(
            trace,
            plain=plain,
            cached=encoded.inputs.get("use_cache") is not False,
            backend=backend,
            handed=() if encoded.past else self._handed(trace, backend),
            crossing=crossing_of(trace),
            weighted=not loaded.weightless,
        )
        if loaded.weightless:
            return behaviour
        if encoded.past:
            reason = f"{encoded.past} tokens are in a cache among the inputs"
            self._unasked.append(Unasked(_OF_TOKENS, reason))
            return behaviour
        return self._measured(behaviour)

    def _measured(self, behaviour: Behaviour) -> Behaviour:
        """What running the batch again, with something changed, shows."""
        model, inputs, trace = self._loaded.model, self._inputs(), behaviour.trace
        facts = self._case.model
        size, rounding = output_size(model, inputs, trace)
        behaviour = replace(behaviour, size=size, rounding=rounding)
        padded = self._padded(trace)
        predicts = facts is not None and facts.predicts_next
        if predicts or trace.batch.decoder is not None:
            earlier, tried = self._leak(behaviour)
            behaviour = replace(behaviour, earlier=earlier, earlier_with=tried)
        weights = None
        if facts is not None and facts.asks_weights:
            weights = self._tried(("N5",), "", lambda: returns_weights(model, inputs, self._loaded.card))
        crossed = None
        if behaviour.crossing is not None:
            how = "the first of the packed texts changed"
            crossed = self._tried(("K1",), how, lambda: moved_by_first_text(model, inputs, trace))
        behaviour = replace(behaviour, crossed=crossed)
        return replace(
            behaviour,
            rounds=self._rounds(behaviour),
            padded=padded,
            names=self._names(padded),
            weights=weights,
            broken=self._tried(("N6",), "", lambda: broken_padding(model, trace)) or (),
            separated_without_cache=self._separated_without_cache(behaviour),
            counted=self._counted(trace),
        )

    def _tried(self, traps: tuple[str, ...], what: str, ask: Callable[[], Value]) -> Value | None:
        """Ask by running; where the model's class does not allow it, the traps are said not to be asked."""
        try:
            found = ask()
        except CannotTraceError as error:
            self._unasked.append(Unasked(traps, error.message))
            return None
        if what and found is not None:
            self.asked.append(what)
        return found

    def _padded(self, trace: Trace) -> tuple[PaddedText, ...]:
        predicts = self._case.model is not None and self._case.model.predicts_next
        padded = padded_texts(self._loaded.model, self._inputs(), trace, predicts)
        keep = trace.batch.keep
        texts = int((~keep.all(axis=1) & keep.any(axis=1)).sum())
        if padded:
            self.asked.append("each padded text alone")
        elif texts and trace.batch.documents is None:
            self._unasked.append(Unasked(("P4", "P11", "L10"), "no padded text could be run without its padding"))
        return padded

    def _leak(self, behaviour: Behaviour) -> tuple[float | None, tuple[Tried, ...]]:
        """How far the model sees its next token, and with which change it does not."""
        model, trace = self._loaded.model, behaviour.trace
        moved = self._tried(("L1",), "a later token changed", lambda: leak(model, self._inputs(), trace))
        if moved is None or moved <= behaviour.noticeable_alike:
            return moved, ()
        self.asked.append("what may make it see the next token")
        implementation = "" if self._case.model is None else self._case.model.implementation
        return moved, leak_tried(model, self._inputs(), trace, implementation)

    def _counted(self, trace: Trace) -> float | None:
        """What positions do that count the keys a token sees, where a mask of the user's own says so."""
        array, given, batch = self._case.array, self._case.batch, trace.batch
        if array is None or array.visible is None or given is None:
            return None
        positions = np.array(batch.position_ids if batch.position_ids is not None else _running(batch.keep))
        asked = False
        for row in range(batch.rows):
            visible = array.visible[row % len(array.visible)].any(axis=0)
            starts = starts_of_blocks(visible)
            wanted = positions_of(visible, np.array(given.kept(row), np.bool_))
            if len(starts) > 1:
                wanted = np.arange(len(visible)) - np.repeat(starts, np.diff([*starts, len(visible)]))
            if wanted is not None and len(wanted) == batch.length:
                asked, positions[row] = True, np.maximum(wanted, 0)
        if not asked:
            return None
        model = self._loaded.model
        how = "positions that count what a token sees"
        return self._tried(("P12",), how, lambda: moved_by_positions(model, self._inputs(), trace, positions))

    def ablated(self, trace: Trace) -> Ablated | None:
        """Somebody's own ablation beside the right one."""
        subject = self._subject
        if subject.outputs is None or subject.head_mask is None:
            return None
        self.asked.append("the same heads silenced")
        mask = parse_or_read_head_mask(subject.head_mask, head_shapes(trace), head_groups(trace))
        values = to_array(read_mask(subject.outputs))
        return held_against(self._loaded.model, self._inputs(), trace, mask, (str(subject.outputs), values))

    def notes_of(self, case: Case) -> tuple[str, ...]:
        """What is no finding and yet to be known."""
        one = case.ablated
        if one is None:
            return tuple(self._notes)
        said = f"{one.name} are off by up to {one.right:.2g} from the outputs with heads {one.heads} silenced"
        if one.right <= one.noticeable:
            said = f"{one.name} are the outputs with heads {one.heads} silenced, to {one.right:.2g}"
        elif one.plain <= one.noticeable:
            said = f"{one.name} are the outputs with no head silenced, to {one.plain:.2g}"
        return (*self._notes, said)

    def _inputs(self) -> dict[str, Any]:
        given = self._encoded.user_mask
        return self._encoded.inputs if given is None else {**self._encoded.inputs, "attention_mask": given.tensor}

    def _traced(self) -> tuple[Trace | None, Trace]:
        """The run without the user's own mask, where there is one, and the run as it is."""
        loaded, encoded = self._loaded, self._encoded
        if self._ran is not None:
            return None, self._ran
        calling, given = calling_of(encoded), encoded.user_mask
        if self._subject.mask is not None:
            given = given_mask(loaded, encoded.batch, self._subject.mask[1])
        if given is None:
            return None, run(loaded.model, encoded.inputs, encoded.batch, loaded.card, calling)
        self._encoded = replace(encoded, user_mask=given)
        without = {name: one for name, one in encoded.inputs.items() if name != "attention_mask"}
        with on_text_alone(loaded.model, without):
            plain = run(loaded.model, without, encoded.batch, loaded.card, calling)
            own = run(loaded.model, self._inputs(), encoded.batch, loaded.card, calling, like=plain)
        return plain, with_user_mask(own, plain, given.visible)

    def _rounds(self, behaviour: Behaviour) -> bool:
        """Whether a drift that is worth a word is only rounding; a user's own mask is of the type it was made for."""
        drift, trace = behaviour.trace.drift, behaviour.trace
        if drift is None or not behaviour.noticeable < drift < math.inf or behaviour.plain is not None:
            return False
        self.asked.append("the same weights in float32")
        return drifts_by_rounding(self._loaded.model, self._inputs(), trace, behaviour.size)

    def _handed(self, trace: Trace, backend: Backend | None) -> tuple[Any, ...]:
        if backend is None or not trace.calls:
            return ()
        over = hand_over(self._loaded.model, self._inputs(), trace, backend)
        if over.refusal:
            self._notes.append(f"{backend} cannot be asked: {over.refusal}")
            return ()
        self.asked.append(f"what {backend} is handed")
        return handed_groups(trace, over)

    def _names(self, padded: tuple[PaddedText, ...]) -> dict[int, str]:
        ids = sorted({token for one in padded for token in one.last or ()})
        labels = token_labels(self._loaded.tokenizer, np.array([ids], np.int64)) if ids else ((),)
        return dict(zip(ids, labels[0], strict=True))

    def _separated_without_cache(self, behaviour: Behaviour) -> bool | None:
        """Whether packed texts that cross are kept apart without a cache and without a mask."""
        crossing = behaviour.crossing
        if crossing is None or crossing.separated:
            return None
        inputs: Mapping[str, Any] = {
            **{name: one for name, one in self._inputs().items() if name != "attention_mask"},
            "use_cache": False,
        }
        try:
            again = crossing_of(run(self._loaded.model, inputs, behaviour.trace.batch, self._loaded.card))
        except CannotTraceError:  # it takes no use_cache
            return None
        self.asked.append("the packed texts without a cache")
        return None if again is None else again.separated


def _running(keep: BoolArray) -> IntArray:
    """int64 [batch, token], the positions a model counts for itself."""
    return np.broadcast_to(np.arange(keep.shape[1]), keep.shape)


def _named(implementation: str) -> Backend | None:
    return Backend(implementation) if implementation in list(Backend) else None


@dataclass(frozen=True, slots=True, eq=False)
class Examined:
    """A case, and what there is to say of how it came about.

    Attributes:
        case: The case.
        about: The model in a line.
        asked: What was looked at and run.
        notes: What else there is to know.
        problem: Why nothing was run, where rules look at the rows alone; None where it was.
    """

    case: Case
    about: str
    asked: tuple[str, ...]
    notes: tuple[str, ...]
    problem: MaskvizError | None = None


def examined(watcher: Watcher, subject: Checkable, model: Loading | Live) -> Examined:
    """Load, encode and run what is to be checked.

    Args:
        watcher: Who is told.
        subject: What is to be checked.
        model: With which model; the config file of one at hand nobody knows.

    Raises:
        MaskvizError: it cannot be loaded or encoded. What cannot be run is a note, where a rule may still say why.
    """
    source = model.source if isinstance(model, Loading) else None
    raw = {} if source is None else read_config(source)[1]  # before weights are brought in
    loaded = loaded_for(watcher, Asked(model, subject.request, tokenizer=subject.tokenizer))
    facts = facts_of(loaded, raw)
    rows = _given_rows(loaded, subject)
    case = Case(purpose=_purpose(subject, rows), model=facts)
    about = f"{loaded.card.name} · {loaded.card.architecture} · {facts.implementation}"
    if rows is not None and subject.unmasked:
        rows = replace(rows, keep=(None,) * len(rows.ids))
    try:
        encoded = _encoded(loaded, subject, rows)
    except UsageError as error:
        if rows is None:
            raise
        said = f"the rows were not run: {error.message}"
        return Examined(replace(case, batch=rows), about, ("the rows of the file",), (said,), error)
    if subject.meant is not None:
        case = replace(case, meant=_meant(subject.meant, encoded.batch))
    case = replace(case, batch=given_of(loaded, encoded) if rows is None or encoded.past else rows)
    case = replace(case, array=_array(subject, loaded, encoded))
    watcher.progress("running the model ...")
    experiment = Experiment(loaded, encoded, case, subject)
    try:
        behaviour = experiment.behaviour()
    except MaskvizError as error:
        if rows is None and subject.mask is None:
            raise
        said = f"the model was not run: {error.message}"
        return Examined(case, about, ("the rows",), (*encoded.notes, said), error)
    case = replace(case, run=behaviour, ablated=experiment.ablated(behaviour.trace))
    case = replace(case, model=_with_unused(facts, source, behaviour.trace))
    notes = (*loaded.notes, *encoded.notes, *experiment.notes_of(case))
    return Examined(case, about, tuple(experiment.asked), notes)


def examined_run(source: Source | None, loaded: Loaded, encoded: Encoded, trace: Trace) -> Examined:
    """The case of a run that has been made, with the runs beside it that show what things do.

    Args:
        source: Where the config of the model is; None for one at hand.
        loaded: The model.
        encoded: The batch that was run, without a mask of the user's own.
        trace: The plain run.
    """
    facts = facts_of(loaded, {} if source is None else read_config(source)[1])
    case = Case(model=facts, batch=given_of(loaded, encoded))
    experiment = Experiment(loaded, encoded, case, Checkable(Request()), trace)
    case = replace(case, run=experiment.behaviour())
    about = f"{loaded.card.name} · {loaded.card.architecture} · {facts.implementation}"
    return Examined(case, about, tuple(experiment.asked), experiment.notes_of(case))


def _encoded(loaded: Loaded, subject: Checkable, rows: GivenBatch | None) -> Encoded:
    if rows is not None and subject.arguments is None:
        side = subject.request.padding_side or getattr(loaded.tokenizer, "padding_side", None) or "right"
        encoded = encoded_rows(loaded, rows, side)
        if subject.request.no_cache:
            encoded = replace(encoded, inputs=encoded.inputs | without_cache(loaded))
    elif subject.arguments is not None:
        encoded = encoded_arguments(loaded, subject.arguments)
        encoded = with_documents(encoded if rows is None else without_padding_ids(loaded, encoded, rows))
        if subject.request.no_cache:
            encoded = replace(encoded, inputs=encoded.inputs | without_cache(loaded))
    else:
        encoded = encode(loaded, subject.request)
    if subject.unmasked and (rows is None or subject.arguments is not None):
        inputs = {name: one for name, one in encoded.inputs.items() if name != "attention_mask"}
        encoded = replace(encoded, inputs=inputs)
    return encoded


def _purpose(subject: Checkable, rows: GivenBatch | None) -> Purpose | None:
    """What the batch is for, as somebody said; rows with labels are for training."""
    labelled = rows is not None and any(row is not None for row in rows.labels)
    return Purpose.FORWARD if subject.purpose is None and labelled else subject.purpose


def _given_rows(loaded: Loaded, subject: Checkable) -> GivenBatch | None:
    """The rows of a file, or of arguments in a file, with what the tokenizer says of their ids."""
    rows = subject.rows
    if subject.arguments is not None:
        name = str(subject.request.inputs or "the inputs")
        rows = given_in(subject.arguments, loaded.model.main_input_name, name)
    return None if rows is None else with_special_ids(loaded, rows)


def _meant(words: str, batch: Batch) -> Rule:
    """The rule that is meant, for the tokens of a batch."""
    side = batch.decoder or batch
    if side.documents is None and "document" in words.lower():
        raise UsageError(
            "documents are meant, and nothing says which tokens are one", "pack them: restart position_ids"
        )
    documents = None if side.documents is None else Content(side.documents, np.int64)
    return parse_rule(words, documents, Content(side.keep, np.bool_))


def _with_unused(facts: ModelFacts, source: Source | None, trace: Trace) -> ModelFacts:
    """The same with the windows that the config names and no layer has: seen in a run without weights that is longer
    than they are, where this one has none."""
    if source is None or not facts.windows or facts.use_sliding_window is False or windowed(trace):
        return facts
    config, raw = read_config(source)
    try:
        ran = layers_of(build_model(source, config, tokenizer=False), source, config, raw)
    except MaskvizError:  # it is run on more than tokens
        return facts
    return replace(facts, unused=ran.unused, unused_by=ran.unused_because)


def _array(subject: Checkable, loaded: Loaded, encoded: Encoded) -> GivenArray | None:
    """A mask in the company of a batch, from its file or among its inputs, read as the model's attention reads it."""
    batch, own = encoded.batch, encoded.user_mask
    if subject.mask is not None:
        name, tensor = subject.mask
    elif own is not None:
        name, tensor = "attention_mask", own.tensor.cpu()
    elif (given := mask_of_cells(subject.arguments or {}, batch.rows)) is not None:
        name, tensor = "attention_mask", given
    else:
        return None
    sizes = Sizes(batch.rows, max(loaded.card.heads), batch.length, batch.length, subject.window)
    dialect = subject.dialect
    if dialect is None:
        eager = implementation_of(loaded.model.config) == "eager"
        own_rows = tensor.ndim == 2 and len(tensor) == batch.rows  # one of another length is P7's
        of_tokens = own_rows and (tensor.shape[1] == batch.length or tensor.shape[0] != tensor.shape[1])
        additive = tensor.is_floating_point() or eager
        dialect = Dialect.HF_2D if of_tokens else Dialect.HF_4D if additive else Dialect.SDPA
    return array_of(MaskNumbers.of(tensor, name), dialect, sizes, loaded.card.dtype)
