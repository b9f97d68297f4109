"""Which heads matter: every head silenced, one after the other, and what that does. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from maskviz.ablate.effects import Question
from maskviz.ablate.measures import measures_known
from maskviz.analyse.ranking import ranked
from maskviz.api.answer import Answer, read_back
from maskviz.api.runs.asking import asked_of
from maskviz.api.runs.examination import Examination, Masking, examination_of
from maskviz.api.runs.options import ModelKeywords, OwnKeywords, TextKeywords, check_options, only, word
from maskviz.api.runs.traced import Asked
from maskviz.api.together import refuse_slopes_beside
from maskviz.api.watcher import NOBODY, Watcher
from maskviz.core.arrays import DoubleArray
from maskviz.core.machine import Share
from maskviz.core.panels.page import Page, Panel
from maskviz.core.results.importance import Effects, Importance
from maskviz.core.results.ranking import Ranking
from maskviz.core.run.trace import ModelCard
from maskviz.core.words import Ablation, MaskedReading, Measure, Method
from maskviz.load.models.model import volume_kept
from maskviz.store.importance import importance_json
from maskviz.tracing.seam.replacing import alone
from maskviz.view.heads.importance import importance_page

if TYPE_CHECKING:
    from maskviz.api.runs.options import Model, RunKeywords, Text


@dataclass(frozen=True, slots=True)
class ImportanceWanted:
    """How heads are ranked.

    Attributes:
        method: Exactly, by silencing each, or by the slope of the loss at its gate.
        ablation: What takes the place of a silenced head's output.
        measure: What is ranked by, None for the first that is known of every text.
        key_heads: Whether key heads are silenced, each with the query heads that read it.
        normalise: Whether each layer's scores are divided by their L2 norm (Michel et al. 2019).
        top: Heads in the ranked table.
        masking: How the loss of a masked language model is read; its seed is that of everything random.
    """

    method: Method = Method.EXACT
    ablation: Ablation = Ablation.ZERO
    measure: Measure | None = None
    key_heads: bool = False
    normalise: bool = False
    top: int = 20
    masking: Masking = field(default_factory=Masking)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HeadRanking(Answer):
    """Heads in the order of what silencing them does.

    Attributes:
        card: The model.
        importance: What was measured.
        ranking: The order.
        names: The texts.
        maps: Attention before and after the first of them is silenced.
        top: Heads in the ranked table.
    """

    DATA: ClassVar[tuple[str, ...]] = (".json",)
    card: ModelCard
    importance: Importance
    ranking: Ranking
    names: tuple[str, ...]
    maps: tuple[Panel, ...]
    top: int

    def __repr__(self) -> str:
        first = self.importance.sites[self.ranking.order[0]] if len(self.ranking.order) else "none"
        return f"<HeadRanking of {self.card.name}: {len(self.importance.sites)} heads, {first} first>"

    def page(self) -> Page:
        """The page that `maskviz importance` prints."""
        return importance_page(self.card, self.ranking, self.names, self.maps, top=self.top)

    def to_dict(self) -> dict[str, Any]:
        """What was measured as `.json` holds it."""
        return read_back(self.data(".json"))

    def data(self, suffix: str, command: str = "") -> bytes:
        """What was measured as `.json`."""
        del suffix
        return importance_json(self.importance, self.card, self.names, command)


class ImportanceKeywords(ModelKeywords, TextKeywords, OwnKeywords, total=False):
    """What else `importance` may be told, beside what is said of a model and its texts.

    Attributes:
        method: "exact" silences every head; "gradient" takes one backward pass a text.
        ablation: "zero", "mean", "resample" or "frozen".
        measure: What is ranked by; None for the loss, or what the model's outputs allow.
        key_heads: Silence key heads, each with the query heads that read it.
        normalise: Divide each layer's scores by their L2 norm (Michel et al. 2019).
        top: Heads in the ranked table.
        seed: Of everything drawn at random.
        mlm_reading: Loss of a masked LM: each token "masked" in turn, or as it stands, "visible".
        mlm_sample: Mask at most so many tokens of a text.
    """

    method: str
    ablation: str
    measure: str | None
    key_heads: bool
    normalise: bool
    top: int
    seed: int
    mlm_reading: str
    mlm_sample: int | None


def importance(model: Model, texts: Text = None, **options: Unpack[ImportanceKeywords]) -> HeadRanking:
    """Rank heads by what happens when each is silenced alone; texts go through the model one by one.

    Args:
        model: A name or a model, as `trace` takes it.
        texts: A text, or several.
        **options: See `ImportanceKeywords`, `ModelKeywords` and `TextKeywords`.

    Raises:
        MaskvizError: what is asked for is not there, does not go together, or has no heads.
        TypeError: an option there is not.
    """
    check_options("importance", options, ImportanceKeywords)
    measure = options.get("measure")
    wanted = ImportanceWanted(
        word(Method, options.get("method", "exact"), "method"),
        word(Ablation, options.get("ablation", "zero"), "ablation"),
        None if measure is None else word(Measure, measure, "measure"),
        options.get("key_heads", False),
        options.get("normalise", False),
        options.get("top", 20),
        masking_of(options),
    )
    run: RunKeywords = only(options, ModelKeywords, TextKeywords, OwnKeywords)
    with alone(), volume_kept():
        return heads_ranked(NOBODY, asked_of(model, texts, run), wanted)


def masking_of(options: Any) -> Masking:
    """How the loss of a masked language model is read, as Python says it."""
    reading = word(MaskedReading, options.get("mlm_reading", "masked"), "reading of a masked model")
    return Masking(reading, options.get("mlm_sample"), options.get("seed", 0))


def heads_ranked(watcher: Watcher, asked: Asked, wanted: ImportanceWanted, share: Share | None = None) -> HeadRanking:
    """Silence every head of a model alone, and rank them.

    Args:
        watcher: Who is told.
        asked: The model and its texts.
        wanted: How heads are ranked.
        share: Which of the texts this process takes, of those torchrun started.

    Raises:
        MaskvizError: the model cannot be loaded or run, or the measure is not known of every text.
    """
    refuse_slopes_beside(wanted.method, wanted.measure, wanted.ablation)
    examination = examination_of(watcher, asked, share or Share(), wanted.masking)
    result = importance_of(examination, wanted)
    ranking = ranked(result, normalise=wanted.normalise)
    maps = examination.maps_without(result.sites[one] for one in ranking.order)
    card = examination.subject.trace.card
    return HeadRanking(card, result, ranking, examination.names, tuple(maps), wanted.top)


def importance_of(examination: Examination, wanted: ImportanceWanted) -> Importance:
    """Silence every head alone, or take the slopes of the loss at their gates; where there is a loss, the exact ranking
    comes with the slopes beside it.

    Raises:
        UsageError: the measure asked for is not known of every text.
    """
    subject = examination.subject
    sites = subject.sites(key_heads=wanted.key_heads)
    measure = examination.measure(wanted.measure)
    effects = Effects({}, {})
    gradients: DoubleArray | None = None
    if wanted.method is Method.GRADIENT:
        gradients = examination.slopes(sites)
    else:
        masks = [subject.silenced(site) for site in sites]
        question = Question(masks, wanted.ablation, seed=wanted.masking.seed)
        effects = examination.ask(question, f"silencing {len(sites)} heads, one by one")
        if Measure.LOSS in measures_known(subject) and examination.ran is None:
            gradients = examination.slopes(sites)
    return Importance(
        sites,
        effects,
        gradients,
        wanted.method,
        measure,
        wanted.ablation,
        tokens=examination.tokens,
        notes=examination.notes,
    )
