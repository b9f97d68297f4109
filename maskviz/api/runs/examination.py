"""Texts one by one through a model whose heads are silenced. Imports torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from maskviz.ablate.effects import Question, effects_of
from maskviz.ablate.gathering import gathered_effects, gathered_rows
from maskviz.ablate.gradient import gradients_of
from maskviz.ablate.measures import Meaning, measures_known
from maskviz.ablate.model_and_texts import AblatedText, HiddenToken, ModelAndTexts
from maskviz.ablate.modules import module_and_rows, module_effects
from maskviz.analyse.comparison import compare
from maskviz.api.runs.own import Own, own_ran, own_ready
from maskviz.api.runs.traced import Asked, loaded_for
from maskviz.api.watcher import Watcher
from maskviz.core.arrays import DoubleArray
from maskviz.core.errors import CannotTraceError, NoWeightsError, UsageError
from maskviz.core.machine import Share
from maskviz.core.panels.page import Note, Panel
from maskviz.core.results.importance import Effects, Site
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import OutputKind, Trace
from maskviz.core.words import MaskedReading, Measure, Role
from maskviz.core.writing import parameter
from maskviz.load.inputs.forward_inputs import encoded_inputs, encoded_of, rows_alone
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded, Request, encode
from maskviz.load.texts.masking import masked_in_turn
from maskviz.load.texts.request import check, on_text_alone
from maskviz.tracing.calling import check_fits
from maskviz.tracing.modules.run import ModuleRun, run_module_gated
from maskviz.tracing.run import run, run_gated
from maskviz.view.heads.changes import most_moved_grid

# Heads whose attention is drawn before and after.
_MAPS = 4
_ALONE = Share()


@dataclass(frozen=True, slots=True)
class Masking:
    """How the loss of a masked language model is read.

    Attributes:
        reading: Each token masked in turn, or visible in its place.
        most: How many tokens of a text are masked at most, None for all.
        seed: Of those that are drawn.
    """

    reading: MaskedReading = MaskedReading.MASKED
    most: int | None = None
    seed: int = 0


_IN_TURN = Masking()


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """A model with its texts, ready to be asked.

    Attributes:
        watcher: Who is told.
        loaded: The model; None for a module of the user's own.
        subject: The model and its texts, each alone in its row.
        names: The texts, as they are shown.
        notes: What the reader must know.
        share: Which of the texts this process examines, of those torchrun started.
        ran: The run of a module of the user's own, whose rows are the texts; else None.
    """

    watcher: Watcher
    loaded: Loaded | None
    subject: ModelAndTexts
    names: tuple[str, ...]
    notes: tuple[str, ...]
    share: Share
    ran: ModuleRun | None = None

    @property
    def tokens(self) -> tuple[int, ...]:
        """Tokens of each text, on the side that is predicted."""
        return tuple(text.tokens for text in self.subject.texts)

    def ask(self, question: Question, what: str = "silencing heads") -> Effects:
        """What masks do to all texts."""
        count = len(self.subject.texts)
        if self.ran is not None:
            with self.watcher.counting(what, len(question.masks) * count) as progress:
                return module_effects(self.ran, self.subject, question, progress)
        own = self.share.numbers(count)
        asked = sum(len(self.subject.texts[index].asked) for index in own)
        with self.watcher.counting(what, len(question.masks) * asked) as progress:
            effects = effects_of(self.subject, question, which=own, progress=progress)
        return gathered_effects(effects, self.share, count)

    def slopes(self, sites: Sequence[Site], base: HeadMask | None = None) -> DoubleArray:
        """|dL/d gate| float64 [text, site] of all texts.

        Raises:
            UsageError: it is a module of the user's own.
        """
        if self.ran is not None:
            raise UsageError("slopes of gates are taken of models of transformers", "rank by silencing each head")
        count = len(self.subject.texts)
        own = self.share.numbers(count)
        with self.watcher.counting("one backward pass a text", len(own)) as progress:
            slopes = gradients_of(self.subject, sites, base=base, which=own, progress=progress)
        return gathered_rows(slopes, self.share, count)

    def measure(self, wanted: Measure | None) -> Measure:
        """The measure asked for, or the first that is known of every text.

        Raises:
            UsageError: the one asked for is not.
        """
        known = measures_known(self.subject)
        if wanted is not None and wanted not in known:
            kind = Meaning.of(self.subject).kind.value
            raise UsageError(
                f"there is no {wanted.value} for {kind} of these texts",
                f"choose one of {', '.join(known)}; "
                f"a loss takes tokens that are predicted, such as a {parameter('target')}",
            )
        return wanted or known[0]

    def maps_without(self, ranked: Iterable[Site]) -> list[Panel]:
        """Attention before and after the most important site is silenced that has any attention behind it."""
        last = self.subject.sites()[-1]
        for site in ranked:
            if (site.stack, site.layer) != (last.stack, last.layer):
                stack = f"{site.stack} " if len(self.subject.trace.stacks) > 1 else ""
                return self.moved_maps(self.subject.silenced(site), f"With head {stack}{site} silenced")
        return []

    def moved_maps(self, mask: HeadMask, what: str) -> list[Panel]:
        """Attention before and after, of the heads that a mask moves most in the first text; none where it is too long
        to be drawn."""
        if self.loaded is None:
            before, after = self.subject.trace, self._gated(mask)
            grid = most_moved_grid(before, after, compare(before, after), 0, _MAPS)
            return [] if grid is None else [Note(f"{what}, the attention of other heads moves, here in row 1."), grid]
        text, card, model = self.subject.texts[0], self.subject.trace.card, self.loaded.model
        try:
            check_fits(card, text.batch)
        except CannotTraceError:
            return []
        before = run(model, text.inputs, text.batch, card)
        after = run_gated(model, text.inputs, before, mask)
        grid = most_moved_grid(before, after, compare(before, after), 0, _MAPS)
        return [] if grid is None else [Note(f"{what}, the attention of other heads moves, here in text 1."), grid]

    def _gated(self, mask: HeadMask) -> Trace:
        assert self.ran is not None
        return run_module_gated(self.ran, mask)


def examination_of(watcher: Watcher, asked: Asked, share: Share = _ALONE, masking: Masking = _IN_TURN) -> Examination:
    """Load a model, encode each text on its own, and trace the shortest.

    Raises:
        UsageError: the model has no weights, or no heads.
    """
    if isinstance(asked.model, Own):
        return _of_module(watcher, asked.model)
    if asked.arguments is None:
        check(asked.request)
    loaded = loaded_for(watcher, asked)
    if loaded.weightless:
        raise NoWeightsError("silencing heads changes numbers", loaded.card.note)
    notes = list(loaded.notes)
    encoded = _each_alone(loaded, asked)
    for index, one in enumerate(encoded):
        notes += [note.replace("text 1 ", f"text {index + 1} ") for note in one.notes]
    texts = tuple(AblatedText(one.inputs, one.batch) for one in encoded)
    shortest = min(texts, key=lambda text: text.batch.length)
    check_fits(loaded.card, shortest.batch)
    watcher.progress(f"running {loaded.card.architecture} on the shortest of {len(texts)} texts ...")
    with on_text_alone(loaded.model, shortest.inputs):
        trace = run(loaded.model, shortest.inputs, shortest.batch, loaded.card)
    if not trace.calls:
        raise UsageError(f"{loaded.card.architecture} has no heads to silence", "maskviz info says what it has")
    names = tuple(one.batch.texts[0] or " ".join(map(str, one.batch.ids[0])) for one in encoded)
    if trace.outputs is not None and trace.outputs.kind is OutputKind.MASKED_LM:
        generator = np.random.default_rng(masking.seed)
        texts = tuple(
            _in_turn(loaded, one, text, (masking, generator)) for one, text in zip(encoded, texts, strict=True)
        )
    subject = ModelAndTexts(loaded.model, trace, texts)
    kept = tuple(dict.fromkeys([*notes, *trace.notes, *_meaning_of_loss(subject, masking)]))
    return Examination(watcher, loaded, subject, names, kept, share)


def _of_module(watcher: Watcher, own: Own) -> Examination:
    """A module of the user's own with the rows of its batch.

    Raises:
        CannotTraceError: it puts out nothing that can be compared row by row.
    """
    ran = own_ran(watcher, own_ready(own))
    subject = module_and_rows(ran)
    names = tuple(ran.trace.batch.texts) or tuple(f"row {row + 1}" for row in range(len(subject.texts)))
    notes = (*ran.trace.notes, *_meaning_of_loss(subject, _IN_TURN))
    return Examination(watcher, None, subject, names, notes, _ALONE, ran)


def _in_turn(
    loaded: Loaded, encoded: Encoded, text: AblatedText, drawn: tuple[Masking, np.random.Generator]
) -> AblatedText:
    """A text with its tokens masked in turn, where that is how its loss is read."""
    masking, generator = drawn
    if masking.reading is MaskedReading.VISIBLE:
        return text
    variants = masked_in_turn(loaded, encoded, masking.most, generator)
    masked = tuple(AblatedText(one.inputs, one.batch, HiddenToken(place, truth)) for one, place, truth in variants)
    return replace(text, masked=masked)


def _meaning_of_loss(subject: ModelAndTexts, masking: Masking) -> tuple[str, ...]:
    """What the loss is where it is not that of the next token."""
    match Meaning.of(subject).kind:
        case OutputKind.CLASSES | OutputKind.LABELS:
            return ("loss and rank are those of the model's own first answer: no true label is known",)
        case OutputKind.MASKED_LM:
            return _meaning_of_masked_loss(subject, masking)
        case OutputKind.CAUSAL_LM if Measure.LOSS not in measures_known(subject):
            return ("not every text has a token that is predicted, so there is no loss to rank by",)
    return ()


def _meaning_of_masked_loss(subject: ModelAndTexts, masking: Masking) -> tuple[str, ...]:
    visible = "the loss is that of naming each visible token in its place, which no masked model is trained on"
    if masking.reading is MaskedReading.VISIBLE:
        return (visible,)
    if not any(text.masked for text in subject.texts):
        return (f"{visible}: no mask token is known to hide one with",)
    said = (
        "the loss is the pseudo-log-likelihood (Salazar et al. 2020): each real token is masked in turn, special ones "
        "never are"
    )
    drawn = [text for text in subject.texts if len(text.masked) < _maskable(text)]
    return (f"{said}; of {len(drawn)} longer texts {masking.most} tokens each, drawn at random",) if drawn else (said,)


def _maskable(text: AblatedText) -> int:
    return sum(role is Role.TEXT for role in text.batch.roles[0])


def _each_alone(loaded: Loaded, asked: Asked) -> tuple[Encoded, ...]:
    """Every text on its own, without the padding that a batch gives it."""
    request = asked.request
    if asked.arguments is not None:
        return rows_alone(encoded_inputs(loaded, asked.arguments))
    if request.inputs is not None:
        return rows_alone(encoded_of(loaded, request))
    count = len(request.texts) or len(request.ids)
    return tuple(encode(loaded, _alone(request, index)) for index in range(count))


def _alone(request: Request, index: int) -> Request:
    """The request for one of its rows."""
    rows = ("texts", "pairs", "ids", "targets", "target_ids")
    return replace(request, **{name: getattr(request, name)[index : index + 1] for name in rows})
