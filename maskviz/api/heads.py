"""What the heads do: where each looks, in numbers, and the roles these make; head means and rollout. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from maskviz.analyse.head_statistics import read_heads as statistics_of
from maskviz.analyse.rollout import head_means, rolled_out
from maskviz.analyse.sinks import without_sinks
from maskviz.analyse.word_merging import merged_words
from maskviz.api.answer import Answer, read_back
from maskviz.api.runs.asking import asked_of
from maskviz.api.runs.options import RunKeywords, check_options, only, word
from maskviz.api.runs.own import Own
from maskviz.api.runs.traced import Asked, Ready, check_feeding, encoded_for, loaded_for, ready_for, traced
from maskviz.api.shown import Picture, choice_of
from maskviz.api.together import OF_HEADS, refuse_together
from maskviz.api.watcher import NOBODY, Watcher
from maskviz.core.arrays import BoolArray
from maskviz.core.errors import NoWeightsError, UsageError
from maskviz.core.panels.page import Page
from maskviz.core.results.head_reading import HeadReading, LayerReading
from maskviz.core.run.grouping import Grouping
from maskviz.core.run.trace import Trace
from maskviz.core.words import HeadStatistic
from maskviz.core.writing import parameter
from maskviz.load.models.model import volume_kept
from maskviz.load.texts.probe import PROBED, probe_of
from maskviz.load.texts.word_groups import words_of
from maskviz.store.head_reading import heads_json
from maskviz.tracing.seam.replacing import alone
from maskviz.view.choosing import Choice
from maskviz.view.heads.heads import HeadsAsked, heads_page
from maskviz.view.heads.maps import maps_page

if TYPE_CHECKING:
    from maskviz.api.runs.options import Model

_WORDS = (
    "Tokens of a word are one: attention to it is the sum over them, attention from it their mean (Clark et al. 2019)."
)


@dataclass(frozen=True, slots=True)
class ProbeSize:
    """Random tokens said twice, in place of a text (Olsson et al. 2022).

    Attributes:
        length: Tokens that are said twice.
        seeds: Different rows of them.
        seed: Of the first.
    """

    length: int = 50
    seeds: int = 4
    seed: int = 0


@dataclass(frozen=True, slots=True)
class HeadsWanted:
    """What is asked of heads.

    Attributes:
        by: Statistic of the map and of the order; None for the usual one.
        top: Heads in the ranked table.
        probe: Measure on random tokens, or None for texts.
        means: Whether the mean of each layer's heads is drawn instead.
        rollout: Whether attention followed through the layers is drawn instead (Abnar & Zuidema 2020).
        words: Whether the tokens of a word are merged.
        no_sink: Whether the first token and special tokens are left out as keys.
        choice: What is drawn.
    """

    by: HeadStatistic | None = None
    top: int = 10
    probe: ProbeSize | None = None
    means: bool = False
    rollout: bool = False
    words: bool = False
    no_sink: bool = False
    choice: Choice = field(default_factory=Choice)

    @property
    def maps(self) -> bool:
        """Whether maps are drawn and not statistics."""
        return self.means or self.rollout


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HeadsRead(Answer):
    """Heads as they were read.

    Attributes:
        trace: The run, without its sinks and its words merged where that was asked for.
        reading: The statistics.
        wanted: What was asked.
        done: What was done, sentences for the reader.
        units: What a row and a place of it are called.
    """

    DATA: ClassVar[tuple[str, ...]] = (".json",)
    trace: Trace
    reading: HeadReading
    wanted: HeadsWanted
    done: tuple[str, ...]
    units: tuple[str, str]

    @property
    def layers(self) -> tuple[LayerReading, ...]:
        """The statistics of each attention that has a pattern, in the order they ran."""
        return self.reading.layers

    def __repr__(self) -> str:
        return f"<HeadsRead of {self.trace.card.name}: {sum(call.heads for call in self.trace.calls)} heads>"

    def page(self) -> Page:
        """The page that `maskviz heads` prints."""
        by = self.wanted.by or (HeadStatistic.INDUCTION if self.wanted.probe is not None else None)
        asked = HeadsAsked(self.wanted.choice, by, self.wanted.top, self.done, self.units)
        return heads_page(self.trace, self.reading, asked)

    def to_dict(self) -> dict[str, Any]:
        """The statistics as `.json` holds them."""
        return read_back(self.data(".json"))

    def data(self, suffix: str, command: str = "") -> bytes:
        """The statistics as `.json`."""
        del suffix
        return heads_json(self.reading, self.trace.card, self.trace.batch.texts, command, self.done)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HeadMaps(Answer):
    """Attention rolled out through the layers, or of each layer's mean.

    Attributes:
        trace: The maps, as a run.
        wanted: What was asked.
        done: What was done, sentences for the reader.
    """

    trace: Trace
    wanted: HeadsWanted
    done: tuple[str, ...]

    def __repr__(self) -> str:
        what = "rollout" if self.wanted.rollout else "means"
        return f"<HeadMaps of {self.trace.card.name}: {what} of {len(self.trace.calls)} layers>"

    def page(self) -> Page:
        """The page that `maskviz heads --mean` or `--rollout` prints."""
        return maps_page(self.trace, self.wanted.choice, self.done, rolled=self.wanted.rollout)

    def to_dict(self) -> dict[str, Any]:
        """The maps as nested lists, [batch, 1, query, key] of each layer."""
        return {
            "kind": "rollout" if self.wanted.rollout else "head means",
            "model": self.trace.card.name,
            "texts": list(self.trace.batch.texts),
            "maps": [
                {
                    "stack": str(call.stack),
                    "layer": call.layer,
                    "map": None if call.pattern is None else call.pattern.tolist(),
                }
                for call in self.trace.calls
            ],
        }


class HeadsKeywords(RunKeywords, Picture, total=False):
    """What else `heads` may be told, beside what is said of a run and a picture.

    Attributes:
        by: Statistic of the map and of the order, such as "entropy".
        top: Heads in the ranked table.
        probe: Whether to measure on random tokens said twice, in place of a text (Olsson et al. 2022).
        probe_length, probe_seeds, seed: How many tokens, how many rows of them, and the seed of the first.
        mean: Draw the mean of each layer's heads.
        rollout: Draw attention followed through the layers (Abnar & Zuidema 2020).
        words: Merge the tokens of a word: sum over keys, mean over queries.
        no_sink: Leave out the first token and special tokens as keys; rows sum to 1 again.
    """

    by: str | None
    top: int
    probe: bool
    probe_length: int
    probe_seeds: int
    seed: int
    mean: bool
    rollout: bool
    words: bool
    no_sink: bool


def heads(
    model: Model | Trace, texts: str | Sequence[str] | None = None, **options: Unpack[HeadsKeywords]
) -> HeadsRead | HeadMaps:
    """Measure where every head looks: entropy, sinks, neighbours, repeats, and the roles these make.

    Args:
        model: A name or a model, as `trace` takes it; or a trace that was made already.
        texts: A text, or several that form one padded batch; None for a trace or a probe.
        **options: See `HeadsKeywords`, `RunKeywords` and `Picture`.

    Returns:
        The statistics; with `mean` or `rollout` the maps.

    Raises:
        MaskvizError: what is asked for is not there, does not go together, or has no attention.
        TypeError: an option there is not.
    """
    check_options("heads", options, HeadsKeywords)
    by, picture = options.get("by"), only(options, Picture)
    probing = ProbeSize(options.get("probe_length", 50), options.get("probe_seeds", 4), options.get("seed", 0))
    wanted = HeadsWanted(
        None if by is None else word(HeadStatistic, by, "statistic of heads"),
        options.get("top", 10),
        probing if options.get("probe", False) else None,
        options.get("mean", False),
        options.get("rollout", False),
        options.get("words", False),
        options.get("no_sink", False),
        choice_of(picture),
    )
    own: RunKeywords = only(options, RunKeywords)
    given = {name for name, one in {**options, "texts": texts}.items() if one not in (None, False, [], (), "")}
    refuse_together(given, OF_HEADS)
    if isinstance(model, Trace):
        if own or texts is not None or wanted.probe is not None or wanted.words:
            raise UsageError("a trace is read as it is", "give the model and the text for other options")
        return _read(model, None, None, wanted, [])
    with alone(), volume_kept():
        if wanted.probe is None:
            return heads_read(NOBODY, asked_of(model, texts, own), wanted)
        asked = asked_of(model, "of the probe's own", own)
        return heads_read(NOBODY, replace(asked, request=replace(asked.request, texts=())), wanted)


def read_heads(trace: Trace) -> HeadsRead:
    """Read the heads of a trace; `heads` does it, too, and takes options."""
    read = heads(trace)
    assert isinstance(read, HeadsRead)
    return read


def heads_read(watcher: Watcher, asked: Asked, wanted: HeadsWanted) -> HeadsRead | HeadMaps:
    """Run a model on texts or on a probe, and read its heads.

    Raises:
        UsageError: there is no attention, or no words are known.
        MaskvizError: the model cannot be loaded or run.
    """
    if isinstance(asked.model, Own):
        wrong = next((name for name in ("words", "probe") if getattr(wanted, name)), None)
        if wrong is not None:
            raise UsageError(f"{parameter(wrong)} is for models of transformers", f"leave out {parameter(wrong)}")
        return _read(traced(watcher, ready_for(watcher, asked)).trace, None, None, wanted, [])
    check_feeding(asked.feeding, asked.request)
    loaded, counted, done = loaded_for(watcher, asked), None, []
    if wanted.probe is not None:
        probe = probe_of(loaded, wanted.probe.length, wanted.probe.seeds, wanted.probe.seed)
        asked, counted = replace(asked, request=probe.request(asked.request)), probe.counted
        done.append(probe.words)
    encoded, calling = encoded_for(watcher, loaded, asked)
    words = words_of(loaded, asked.request, encoded.batch) if wanted.words else None
    trace = traced(watcher, Ready(loaded, encoded, calling)).trace
    if loaded.weightless:
        raise NoWeightsError("heads are read from numbers", loaded.card.note)
    return _read(trace, counted, words, wanted, done)


def _read(
    trace: Trace, counted: BoolArray | None, words: Grouping | None, wanted: HeadsWanted, done: list[str]
) -> HeadsRead | HeadMaps:
    """The heads of a run; `counted` are the queries of a probe, `words` what tokens are merged into."""
    if all(call.pattern is None for call in trace.calls):
        raise UsageError("there is no attention to read heads of", "it takes weights, and attention with a matrix")
    if wanted.no_sink:
        trace, said = without_sinks(trace)
        done.append(said)
    if words is not None:
        done.append(_WORDS)
    if wanted.maps:
        trace = rolled_out(trace, wanted.choice.stack) if wanted.rollout else head_means(trace)
        return HeadMaps(trace if words is None else merged_words(trace, words), wanted, tuple(done))
    trace = trace if words is None else merged_words(trace, words)
    kinds = PROBED if wanted.probe is not None else tuple(HeadStatistic)
    units = "text" if counted is None else "row", "token" if words is None else "word"
    return HeadsRead(trace, statistics_of(trace, counted, kinds), wanted, tuple(done), units)
