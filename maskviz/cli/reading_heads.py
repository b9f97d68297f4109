"""The rooms of `maskviz heads` introduced to each other: load, tracing, analyse, view, store. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maskviz.analyse.head_statistics import read_heads
from maskviz.analyse.rollout import head_means, rolled_out
from maskviz.analyse.sinks import without_sinks
from maskviz.analyse.word_merging import merged_words
from maskviz.api.runs.traced import encoded_for, loaded_by, traced
from maskviz.cli.asking import feeding_of, loading_of, request_of
from maskviz.cli.env import Env
from maskviz.core.arrays import BoolArray
from maskviz.core.errors import NoWeightsError, UsageError
from maskviz.core.panels.page import Page
from maskviz.core.run.grouping import Grouping
from maskviz.core.run.trace import Trace
from maskviz.core.words import HeadStatistic
from maskviz.load.texts.probe import PROBED, probe_of
from maskviz.load.texts.word_groups import words_of
from maskviz.store.head_reading import heads_json
from maskviz.view.heads.heads import HeadsAsked, heads_page
from maskviz.view.heads.maps import maps_page
from maskviz.view.show import Choice

_WORDS = (
    "Tokens of a word are one: attention to it is the sum over them, attention from it their mean (Clark et al. 2019)."
)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A run ready to be read.

    Attributes:
        trace: The run, without its sinks where that is asked for.
        counted: bool [batch, token], the queries of a probe that count; None for all.
        kinds: The statistics that are read.
        words: The words its tokens are merged into, or None.
        done: What was done, sentences for the reader.
    """

    trace: Trace
    counted: BoolArray | None
    kinds: tuple[HeadStatistic, ...]
    words: Grouping | None
    done: tuple[str, ...]

    @property
    def units(self) -> tuple[str, str]:
        """What a row and a place of it are called."""
        return "text" if self.counted is None else "row", "token" if self.words is None else "word"

    @property
    def merged(self) -> Trace:
        """The run, its words merged where that is asked for."""
        return self.trace if self.words is None else merged_words(self.trace, self.words)


def prepared(env: Env, options: Mapping[str, Any], texts: tuple[str, ...]) -> Prepared:
    """Run a model on texts or on a probe.

    Raises:
        UsageError: there is no attention, or no words are known.
        MaskvizError: the model cannot be loaded or run.
    """
    options = {**options, "no_weights": False, "image": None, "step": None, "mask": None, "prove": False}
    request, loading = request_of(options, texts), loading_of(options)
    loaded = loaded_by(env, loading, request)
    counted, done = None, []
    if options["probe"]:
        probe = probe_of(loaded, options["probe_length"], options["probe_seeds"], options["seed"])
        request, counted = probe.request(request), probe.counted
        done.append(probe.words)
    encoded, calling = encoded_for(env, loaded, request, feeding_of(options, request))
    words = words_of(loaded, request, encoded.batch) if options["words"] else None
    trace = traced(env, loaded, encoded, None, calling).trace
    if loaded.weightless:
        raise NoWeightsError("heads are read from numbers", loaded.card.note)
    if all(call.pattern is None for call in trace.calls):
        raise UsageError("there is no attention to read heads of", "it takes weights, and attention with a matrix")
    if options["no_sink"]:
        trace, said = without_sinks(trace)
        done.append(said)
    if words is not None:
        done.append(_WORDS)
    return Prepared(trace, counted, PROBED if options["probe"] else tuple(HeadStatistic), words, tuple(done))


def read_page(ready: Prepared, choice: Choice, ranking: tuple[HeadStatistic, int], command: str) -> Page:
    """The page of statistics, ranked by one of them down to a number of heads."""
    trace = ready.merged
    return heads_page(
        trace,
        read_heads(trace, ready.counted, ready.kinds),
        HeadsAsked(choice, *ranking, ready.done, ready.units),
        command,
    )


def reading_json(ready: Prepared, command: str) -> bytes:
    """The statistics as JSON."""
    trace = ready.merged
    return heads_json(read_heads(trace, ready.counted, ready.kinds), trace.card, trace.batch.texts, command, ready.done)


def maps_page_of(ready: Prepared, choice: Choice, command: str, *, rolled: bool) -> Page:
    """The page of attention rolled out, or of each layer's mean."""
    trace = rolled_out(ready.trace, choice.stack) if rolled else head_means(ready.trace)
    if ready.words is not None:
        trace = merged_words(trace, ready.words)
    return maps_page(trace, choice, ready.done, command, rolled=rolled)
