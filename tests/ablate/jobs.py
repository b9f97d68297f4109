"""What the tests of several processes run in each of them."""

from __future__ import annotations

import pickle
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskviz.ablate.effects import Question, effects_of
from maskviz.ablate.gathering import gathered_effects, gathered_rows
from maskviz.ablate.gradient import gradients_of
from maskviz.ablate.model_and_texts import AblatedText, ModelAndTexts
from maskviz.core.errors import CannotTraceError, MaskvizError
from maskviz.core.machine import Share
from maskviz.core.results.importance import Effects
from maskviz.core.run.heads import HeadMask, parse_head_mask
from maskviz.core.run.trace import Trace
from maskviz.core.words import Ablation, Parallel
from maskviz.load.models.model import Loaded, load_config, load_model
from maskviz.load.models.parallel import in_processes
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.experiments.prove import prove
from maskviz.tracing.run import head_shapes, run, run_gated

# The second rank of two holds heads 2 and 3 of 4.
HEAD_MASK = "0:0,3; 1:2=0.5"


@dataclass(frozen=True, slots=True, eq=False)
class Examined:
    """A model's folder, and texts as rows of ids."""

    folder: str
    rows: tuple[tuple[int, ...], ...]

    def loaded(self, parallel: Parallel | None = None) -> Loaded:
        source = resolve(self.folder)
        return load_model(source, load_config(source), parallel=parallel)


def subject_of(loaded: Loaded, rows: tuple[tuple[int, ...], ...]) -> ModelAndTexts:
    """Each row as a text of its own."""
    encoded = [encode(loaded, Request(ids=(row,))) for row in rows]
    trace = run(loaded.model, encoded[0].inputs, encoded[0].batch, loaded.card)
    return ModelAndTexts(loaded.model, trace, tuple(AblatedText(one.inputs, one.batch) for one in encoded))


def masks_of(subject: ModelAndTexts) -> list[HeadMask]:
    """Every head silenced on its own."""
    return [subject.silenced(site) for site in subject.sites()]


def changes_of(effects: Effects) -> dict[str, Any]:
    """What both kinds of values of effects hold, by name."""
    changes: dict[str, Any] = {str(name): values for name, values in effects.changes.items()}
    return changes | {f"plain {name}": values for name, values in effects.plain.items()}


def ablations_of(subject: ModelAndTexts) -> list[Ablation]:
    """The kinds of ablation that the texts allow: a single one has none to be resampled from."""
    return [one for one in Ablation if len(subject.texts) > 1 or one is not Ablation.RESAMPLE]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was seen of a model: of the plain run and under a head mask, and the effects of silencing its heads."""

    heads: tuple[tuple[int, int], ...]
    patterns: tuple[Any, ...]
    visible: tuple[Any, ...]
    rules: tuple[str, ...]
    drift: float
    gated_patterns: tuple[Any, ...]
    gated_outputs: Any
    effects: dict[Ablation, dict[str, Any]]
    gradients: Any
    proven: bool


def seen_of(loaded: Loaded, rows: tuple[tuple[int, ...], ...]) -> Seen:
    """Look at a model in every way at once."""
    encoded = encode(loaded, Request(ids=rows))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    head_mask = parse_head_mask(HEAD_MASK, head_shapes(trace))
    after = run_gated(loaded.model, encoded.inputs, trace, head_mask)
    subject = subject_of(loaded, rows)
    base = parse_head_mask("2:3", head_shapes(trace))
    asked = [Question(masks_of(subject), ablation, seed=1) for ablation in Ablation]
    effects = {one.ablation: changes_of(effects_of(subject, one)) for one in asked}
    return Seen(
        heads=tuple((call.heads, call.key_heads) for call in trace.calls),
        patterns=_patterns(trace),
        visible=tuple(np.asarray(call.mask.visible) for call in trace.calls),
        rules=tuple(str(call.mask.rule) for call in trace.calls),
        drift=trace.drift or 0.0,
        gated_patterns=_patterns(after),
        gated_outputs=None if after.outputs is None else after.outputs.token_loss,
        effects=effects,
        gradients=gradients_of(subject, subject.sites(), base=base),
        proven=prove(loaded.model, encoded.inputs, trace).proven,
    )


def _patterns(trace: Trace) -> tuple[Any, ...]:
    return tuple(np.asarray(call.pattern) for call in trace.calls)


def dealt_out(given: Examined) -> Seen:
    """A model dealt out over the processes."""
    with in_processes(splits=False):
        return seen_of(given.loaded(Parallel.TP), given.rows)


def texts_split(given: Examined) -> tuple[list[int], dict[Ablation, dict[str, Any]], Any]:
    """Texts dealt out over the processes: the numbers of this one's, and everyone's effects and gradients."""
    with in_processes() as share:
        subject = subject_of(given.loaded(), given.rows)
        count = len(subject.texts)
        effects = {}
        for ablation in ablations_of(subject):
            question = Question(masks_of(subject), ablation, seed=1)
            own = effects_of(subject, question, which=share.numbers(count))
            effects[ablation] = changes_of(gathered_effects(own, share, count))
        slopes = gradients_of(subject, subject.sites(), which=share.numbers(count))
        return list(share.numbers(count)), effects, gathered_rows(slopes, share, count)


def effects_in_one(given: Examined) -> dict[Ablation, dict[str, Any]]:
    """Effects on all texts, examined by one process."""
    subject = subject_of(given.loaded(), given.rows)
    return {
        one: changes_of(effects_of(subject, Question(masks_of(subject), one, seed=1))) for one in ablations_of(subject)
    }


def second_fails(_: None) -> tuple[str, int]:
    """The second process fails while the first waits for what it has found; the error each ends with."""
    try:
        with in_processes() as share:
            if share.rank == 1:
                raise CannotTraceError("no attention was heard")
            gathered_rows(np.zeros((1, 1)), share, 2)
    except MaskvizError as error:
        return type(error).__name__, int(error.exit_code)
    return "", 0


def main() -> None:
    """Run a job and leave its result in the folder."""
    warnings.simplefilter("error")
    job, folder = sys.argv[1], Path(sys.argv[2])
    result = globals()[job](pickle.loads((folder / "given").read_bytes()))
    (folder / f"result.{Share.of_environment().rank}").write_bytes(pickle.dumps(result))
