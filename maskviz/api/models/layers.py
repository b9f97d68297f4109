"""A model's layers from its config alone: built without weights and run, its windows put to the test. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from maskviz.core.errors import CannotTraceError
from maskviz.core.rules.algebra import Leaf, Rule
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import Trace
from maskviz.load.models.loading import meaningless_request
from maskviz.load.models.mask_settings import claimed_choices, claimed_windows, unused_because, with_numbers
from maskviz.load.models.model import Loaded, build_model
from maskviz.load.models.source import Source
from maskviz.load.texts.encode import encode
from maskviz.load.texts.request import on_text_alone
from maskviz.tracing.run import run

# Tokens of the run. A window that transformers' own functions make is read whatever its size.
LENGTH = 32
# One made by hand shows by what it blocks: the run is repeated at its length, up to this many tokens.
_LONGEST = 1026
# What takes the place of a longer one, to see whether the code looks at it at all.
_SMALL = 8


@dataclass(frozen=True, slots=True, eq=False)
class LayerRun:
    """What a run without weights said of a model's layers.

    Attributes:
        trace: The run, of one text without padding.
        unused: Windows the config names and no layer has, in tokens, by their names there.
        unused_because: What in the config keeps the layers from having them; "" where the code does not read them.
        beyond: Windows and choices of keys that layers have and that begin to block behind the end of the run.
    """

    trace: Trace
    unused: Mapping[str, int]
    beyond: Mapping[str, int]
    unused_because: str = ""

    @property
    def until(self) -> int | None:
        """The longest text the rules of the run are known for; None where they hold for every one."""
        return min(self.beyond.values(), default=None)


def layers_of(loaded: Loaded, source: Source, config: Any, raw: Mapping[str, Any]) -> LayerRun:
    """Run a model without its weights, longer where its config names a window that was not seen.

    Args:
        loaded: The model, built without weights.
        source: Where the config is from.
        config: The config.
        raw: The dictionary in its file.

    Raises:
        CannotTraceError: it cannot be run on tokens alone.
    """
    trace = _run(loaded, LENGTH)
    if not trace.calls:
        return LayerRun(trace, {}, {})
    choices = {name: size for name, size in claimed_choices(config, raw).items() if size >= LENGTH}
    beyond = choices if choices and _moves(source, config, choices, trace) else {}
    windows = claimed_windows(config, raw)
    if not windows or windowed(trace):
        return LayerRun(trace, {}, beyond)
    because = unused_because(config, raw, len({call.layer for call in trace.calls}))
    longest = max(windows.values())
    if LENGTH - 2 < longest <= _LONGEST - 2:
        trace = _longer(source, config, longest + 2) or trace
        return LayerRun(trace, {} if windowed(trace) else windows, beyond, because)
    if longest < LENGTH - 2 or not _moves(source, config, windows, trace):
        return LayerRun(trace, windows, beyond, because)
    return LayerRun(trace, {}, {**beyond, **windows})


def _run(loaded: Loaded, length: int) -> Trace:
    encoded = encode(loaded, meaningless_request(loaded, length))
    with on_text_alone(loaded.model, encoded.inputs):
        trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    return replace(trace, notes=(*loaded.notes, *trace.notes))


def _longer(source: Source, config: Any, length: int) -> Trace | None:
    try:
        return _run(build_model(source, config, tokenizer=False), length)
    except CannotTraceError:  # it ran on fewer tokens
        return None


def _moves(source: Source, config: Any, claimed: Mapping[str, int], trace: Trace) -> bool:
    """Whether smaller windows in the config change any mask."""
    try:
        other = _run(build_model(source, with_numbers(config, claimed, _SMALL), tokenizer=False), LENGTH)
    except CannotTraceError:  # something in it reads the number
        return True
    masks = [(call.layer, call.mask) for call in trace.calls]
    others = [(call.layer, call.mask) for call in other.calls]
    return len(masks) != len(others) or any(
        layer != again or not mask.same_as(mask_again)
        for (layer, mask), (again, mask_again) in zip(masks, others, strict=True)
    )


def windowed(trace: Trace) -> bool:
    """Whether any layer has a window or chunks."""
    return any(is_local(call.mask.rule) for call in trace.calls)


def is_local(rule: Rule) -> bool:
    """Whether a rule has a window or chunks."""
    local = (Reason.WINDOW, Reason.CHUNK)
    return any(isinstance(leaf, Leaf) and leaf.reason in local for leaf in rule.leaves())
