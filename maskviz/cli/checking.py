"""A model and a batch become a case: run as they are handed over, then run again to see what each thing does.

Imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from maskviz.ablate.mistakes import held_against
from maskviz.analyse.handover import handed_groups
from maskviz.analyse.user_mask import with_user_mask
from maskviz.api.running import calling_of
from maskviz.cli.array_case import given_array
from maskviz.cli.env import Env
from maskviz.cli.head_masks import parse_or_read_head_mask
from maskviz.cli.tracing import loaded_by
from maskviz.conventions.files import read_mask
from maskviz.core.behaviour import Ablated, Behaviour, ModelFacts, PaddedText
from maskviz.core.case import Case
from maskviz.core.errors import CannotTraceError, MaskvizError, UsageError
from maskviz.core.given_array import GivenArray, Sizes
from maskviz.core.given_batch import GivenBatch
from maskviz.core.packing import crossing_of
from maskviz.core.trace import Trace
from maskviz.core.words import Backend, Dialect, Purpose
from maskviz.load.encode import Encoded, Request, without_cache
from maskviz.load.facts import facts_of
from maskviz.load.forward_inputs import encoded_of
from maskviz.load.given import encoded_rows, given_of, with_special_ids
from maskviz.load.labels import token_labels
from maskviz.load.loading import Loading
from maskviz.load.model import Loaded, read_config
from maskviz.load.senses import on_text_alone
from maskviz.load.user_mask import given_mask
from maskviz.tracing.backends import hand_over
from maskviz.tracing.budget import check_fits
from maskviz.tracing.doors import to_array
from maskviz.tracing.experiments import broken_padding, drifts_by_rounding, output_size, padded_texts, returns_weights
from maskviz.tracing.prove import moved_by_last_token
from maskviz.tracing.run import head_groups, head_shapes, run
from maskviz.tracing.seam.implementation import implementation_of


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is to be checked with a model.

    Attributes:
        loading: The model.
        request: Texts or ids to encode; without any where `rows` are given.
        rows: A batch as it was given in a file, or None.
        unmasked: Whether no attention mask is passed.
        mask: A mask file, or None.
        dialect: How it is to be read, None to go by its shape.
        window: Keys a query is meant to see at most.
        purpose: What the batch is for.
        backend: The backend asked about; None for the model's own.
        head_mask, outputs: Heads somebody silenced, and the file of what came out.
    """

    loading: Loading
    request: Request
    rows: GivenBatch | None = None
    unmasked: bool = False
    mask: Path | None = None
    dialect: Dialect | None = None
    window: int | None = None
    purpose: Purpose | None = None
    backend: Backend | None = None
    head_mask: str | None = None
    outputs: Path | None = None


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


def examined(env: Env, subject: Subject) -> Examined:
    """Load, encode and run what is to be checked.

    Raises:
        MaskvizError: it cannot be loaded or encoded. What cannot be run is a note, where a rule may still say why.
    """
    raw = read_config(subject.loading.source)[1]
    loaded = loaded_by(env, subject.loading, subject.request)
    facts = facts_of(loaded, raw)
    case = Case(purpose=subject.purpose, model=facts)
    about = f"{loaded.card.name} · {loaded.card.architecture} · {facts.implementation}"
    rows = None if subject.rows is None else with_special_ids(loaded, subject.rows)
    if rows is not None and subject.unmasked:
        rows = replace(rows, keep=(None,) * len(rows.ids))
    try:
        encoded = _encoded(loaded, subject, rows)
    except UsageError as error:
        if rows is None:
            raise
        said = f"the rows were not run: {error.message}"
        return Examined(replace(case, batch=rows), about, ("the rows of the file",), (said,), error)
    case = replace(case, batch=given_of(loaded, encoded) if rows is None else rows)
    if subject.mask is not None:
        case = replace(case, array=_array(subject, subject.mask, loaded, encoded))
    env.progress("running the model ...")
    experiment = _Experiment(loaded, encoded, facts, subject)
    try:
        behaviour = experiment.behaviour()
    except MaskvizError as error:
        if rows is None and subject.mask is None:
            raise
        said = f"the model was not run: {error.message}"
        return Examined(case, about, ("the rows",), (*encoded.notes, said), error)
    case = replace(case, run=behaviour, ablated=experiment.ablated(behaviour.trace))
    notes = (*loaded.notes, *encoded.notes, *experiment.notes_of(case))
    return Examined(case, about, tuple(experiment.asked), notes)


def examined_run(subject: Subject, loaded: Loaded, encoded: Encoded, trace: Trace) -> Examined:
    """The case of a run that has been made, with the runs beside it that show what things do.

    Args:
        subject: The model; what was encoded is in `encoded`.
        loaded: The same, loaded.
        encoded: The batch that was run, without a mask of the user's own.
        trace: The plain run.
    """
    facts = facts_of(loaded, read_config(subject.loading.source)[1])
    case = Case(model=facts, batch=given_of(loaded, encoded))
    experiment = _Experiment(loaded, encoded, facts, subject, trace)
    case = replace(case, run=experiment.behaviour())
    about = f"{loaded.card.name} · {loaded.card.architecture} · {facts.implementation}"
    return Examined(case, about, tuple(experiment.asked), experiment.notes_of(case))


def _encoded(loaded: Loaded, subject: Subject, rows: GivenBatch | None) -> Encoded:
    if rows is not None:
        side = subject.request.padding_side or getattr(loaded.tokenizer, "padding_side", None) or "right"
        encoded = encoded_rows(loaded, rows, side)
        if subject.request.no_cache:
            encoded = replace(encoded, inputs=encoded.inputs | without_cache(loaded))
    else:
        encoded = encoded_of(loaded, subject.request)
    if subject.unmasked and rows is None:
        inputs = {name: one for name, one in encoded.inputs.items() if name != "attention_mask"}
        encoded = replace(encoded, inputs=inputs)
    return encoded


def _array(subject: Subject, path: Path, loaded: Loaded, encoded: Encoded) -> GivenArray:
    """A mask file in the company of a batch, read as the model's attention reads it."""
    batch = encoded.batch
    sizes = Sizes(batch.rows, max(loaded.card.heads), batch.length, batch.length, subject.window)
    dialect = subject.dialect
    if dialect is None:
        tensor = read_mask(path)
        eager = implementation_of(loaded.model.config) == "eager"
        of_tokens = tensor.ndim == 2 and tensor.shape == (batch.rows, batch.length)
        additive = tensor.is_floating_point() or eager
        dialect = Dialect.HF_2D if of_tokens else Dialect.HF_4D if additive else Dialect.SDPA
    return given_array(path, dialect, sizes, loaded.card.dtype)


class _Experiment:
    """The runs of one model on one batch.

    Attributes:
        asked: What was looked at and run, a phrase each.
    """

    def __init__(
        self, loaded: Loaded, encoded: Encoded, facts: ModelFacts, subject: Subject, ran: Trace | None = None
    ) -> None:
        self._loaded, self._encoded, self._facts, self._subject = loaded, encoded, facts, subject
        self._ran = ran
        self.asked = ["the batch", "the config"]
        self._notes: list[str] = []

    def behaviour(self) -> Behaviour:
        """Run the batch, and what else can be asked of it."""
        loaded, encoded, model = self._loaded, self._encoded, self._loaded.model
        check_fits(loaded.card, encoded.batch)
        plain, trace = self._traced()
        self.asked.append(f"the masks{'' if loaded.weightless else ' and the attention'} of {len(trace.calls)} calls")
        backend = self._subject.backend or _named(self._facts.implementation)
        behaviour = Behaviour(
            trace,
            plain=plain,
            cached=encoded.inputs.get("use_cache") is not False,
            backend=backend,
            handed=() if encoded.past else self._handed(trace, backend),
            crossing=crossing_of(trace),
        )
        if loaded.weightless:
            self._notes.append(
                "without weights nothing was asked of what the model does: P4, L1, L10, N2, N5 and all costs"
            )
            return behaviour
        if encoded.past:
            self._notes.append(
                f"{encoded.past} tokens are in a cache among the inputs: the masks behind it were looked at, and "
                "nothing was run that would need the tokens themselves"
            )
            return behaviour
        size, rounding = output_size(model, self._inputs(), trace)
        moved = moved_by_last_token(model, self._inputs(), trace) if self._facts.predicts_next else None
        if moved is not None:
            self.asked.append("the last token changed")
        padded = () if plain is not None else padded_texts(model, encoded.inputs, trace, self._facts.predicts_next)
        if padded:
            self.asked.append("each padded text alone")
        weights = returns_weights(model, self._inputs()) if self._facts.asks_weights else None
        separated = self._separated_without_cache(behaviour)
        behaviour = replace(behaviour, size=size, rounding=rounding)
        return replace(
            behaviour,
            rounds=self._rounds(behaviour),
            padded=padded,
            names=self._names(padded),
            earlier=None if moved is None else moved[0],
            weights=weights,
            broken=broken_padding(model, trace),
            separated_without_cache=separated,
        )

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
            given = given_mask(loaded, encoded.batch, read_mask(self._subject.mask))
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


def _named(implementation: str) -> Backend | None:
    return Backend(implementation) if implementation in list(Backend) else None
