"""A model and a batch become a case: run as they are handed over, then run again to see what each thing does.

Imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from maskviz.api.checking.array import MaskNumbers, array_of
from maskviz.api.checking.experiment import Experiment
from maskviz.api.checking.subject import Subject
from maskviz.api.models.layers import layers_of, windowed
from maskviz.api.runs.traced import Asked, Live, loaded_for
from maskviz.api.watcher import Watcher
from maskviz.core.arrays import Content
from maskviz.core.checks.behaviour import ModelFacts
from maskviz.core.checks.case import Case
from maskviz.core.checks.given_array import GivenArray, Sizes
from maskviz.core.checks.given_batch import GivenBatch
from maskviz.core.errors import MaskvizError, UsageError
from maskviz.core.rules.algebra import Rule
from maskviz.core.rules.grammar import parse_rule
from maskviz.core.run.trace import Batch, Trace
from maskviz.core.words import Dialect, Purpose
from maskviz.load.inputs.arguments import encoded_arguments, mask_of_cells
from maskviz.load.inputs.forward_inputs import encoded_of
from maskviz.load.inputs.given import (
    encoded_rows,
    given_in,
    given_of,
    with_documents,
    with_special_ids,
    without_padding_ids,
)
from maskviz.load.models.facts import facts_of
from maskviz.load.models.loading import Loading
from maskviz.load.models.model import Loaded, build_model, read_config
from maskviz.load.models.source import Source
from maskviz.load.texts.encode import Encoded, Request, without_cache
from maskviz.tracing.seam.running import implementation_of


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


def examined(watcher: Watcher, subject: Subject, model: Loading | Live) -> Examined:
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
    experiment = Experiment(loaded, encoded, case, Subject(Request()), trace)
    case = replace(case, run=experiment.behaviour())
    about = f"{loaded.card.name} · {loaded.card.architecture} · {facts.implementation}"
    return Examined(case, about, tuple(experiment.asked), experiment.notes_of(case))


def _encoded(loaded: Loaded, subject: Subject, rows: GivenBatch | None) -> Encoded:
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
        encoded = encoded_of(loaded, subject.request)
    if subject.unmasked and (rows is None or subject.arguments is not None):
        inputs = {name: one for name, one in encoded.inputs.items() if name != "attention_mask"}
        encoded = replace(encoded, inputs=inputs)
    return encoded


def _purpose(subject: Subject, rows: GivenBatch | None) -> Purpose | None:
    """What the batch is for, as somebody said; rows with labels are for training."""
    labelled = rows is not None and any(row is not None for row in rows.labels)
    return Purpose.FORWARD if subject.purpose is None and labelled else subject.purpose


def _given_rows(loaded: Loaded, subject: Subject) -> GivenBatch | None:
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


def _array(subject: Subject, loaded: Loaded, encoded: Encoded) -> GivenArray | None:
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
