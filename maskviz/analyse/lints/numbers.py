"""Rules about the numbers of a mask file, and the rows and windows they make."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from maskviz.core.arrays import BoolArray, DoubleArray
from maskviz.core.checks.case import Case, GivenArray
from maskviz.core.checks.findings import Confidence, Finding, Lint, Need
from maskviz.core.checks.intended import ADDITIVE, weak_constant
from maskviz.core.checks.known import found, leak_of, not_numbers_of
from maskviz.core.words import Dialect, Severity

_WITHOUT_ROWS = (Dialect.HEAD_MASK, Dialect.WEIGHTS, Dialect.HF_2D, Dialect.TORCH_PADDING)
# As in `trace.doors`: at or below this a key's weight is zero in every float type.
_BLOCKED = -9e3
_LEAST = {"float16": -65504.0, "bfloat16": -3.3895313892515355e38, "float32": -3.4028234663852886e38}


def blind_queries(case: Case) -> Iterator[Finding]:
    """N1: a real query that may attend to nothing, or one that makes the framework put out NaN."""
    array = case.array
    if array is None or array.visible is None or array.dialect in _WITHOUT_ROWS or array.visible.shape[2] < 2:
        return
    blind: BoolArray = np.asarray(~array.visible.any(axis=-1))  # [batch, head, query]
    queries, keys = array.visible.shape[2:]
    # A token that nobody sees is padding, and its own row has no meaning.
    by_key: BoolArray = np.asarray(array.visible.any(axis=2))
    seen = by_key[..., keys - queries :] if keys >= queries else np.ones_like(blind)
    real: BoolArray = np.asarray(blind & seen)
    cost = not_numbers_of(array)
    if not real.any() and not (cost and blind.any()):
        return
    places = np.argwhere((real if real.any() else blind).any(axis=1))  # (row, query)
    row, query = places[0].tolist()
    first = f"row {row + 1}, query {query}" if len(blind) > 1 else f"query {query}"
    many = f"{len(places)} quer{'y' if len(places) == 1 else 'ies'} may attend to nothing, the first is {first}"
    yield found("N1", array.name, many, measured=cost)


def weights_change_outputs(case: Case) -> Iterator[Finding]:
    """N2: nn.MultiheadAttention puts out something else where weights are asked for."""
    array = case.array
    if array is None or array.trial is None or array.trial.differs is None:
        return
    differs = array.trial.differs
    if math.isnan(differs) or differs > 1e-4:
        how = (
            "NaN with need_weights=True and numbers without" if math.isnan(differs) else f"they differ by {differs:.2g}"
        )
        yield found("N2", array.name, "outputs depend on need_weights", measured=how, confidence=Confidence.MEASURED)


def minimum_twice(case: Case) -> Iterator[Finding]:
    """N3: numbers that block once and twice in one mask: -inf beside a type's minimum, or the double of another."""
    array = case.array
    if array is None or (numbers := _blocking(array)) is None:
        return
    least = sorted(set(numbers.tolist()))
    doubled = [one for one in least if one * 2 in least and math.isfinite(one) and one <= _BLOCKED]
    finite = [one for one in least if math.isfinite(one) and one <= min(_LEAST["float16"], _BLOCKED)]
    if -math.inf in least and finite:
        message = f"{int(np.isneginf(numbers).sum())} cells are -inf and others {finite[0]:.4g}: it was added twice"
        yield found("N3", array.name, message, confidence=Confidence.LIKELY)
    elif doubled:
        message = f"some cells are {doubled[0]:.4g} and others {2 * doubled[0]:.4g}: it was added twice"
        yield found("N3", array.name, message, confidence=Confidence.LIKELY)


def no_number(case: Case) -> Iterator[Finding]:
    """N6: cells of the file that are NaN or +inf."""
    array = case.array
    if array is None or array.values.dtype.kind != "f":
        return
    wrong = np.argwhere(np.isnan(array.values) | np.isposinf(array.values))
    if len(wrong):
        message = f"{len(wrong)} of its cells are NaN or +inf, the first at {wrong[0].tolist()}"
        weight = None if case.model is None else Severity.ERROR  # a model cannot be run with it
        yield found("N6", array.name, message, measured=not_numbers_of(array), weight=weight)


def constant(case: Case) -> Iterator[Finding]:
    """N4: a number that does not block for sure, or that the type it runs in does not have."""
    array = case.array
    if array is None or array.dialect not in ADDITIVE or array.values.dtype.kind != "f":
        return
    if (weak := weak_constant(array)) is not None:
        message = f"it blocks with {weak:g}: scores that differ by as much get through"
        yield found("N4", array.name, message, measured=leak_of(array), confidence=Confidence.LIKELY)
    least = _LEAST.get(array.run_dtype)
    finite = array.values[np.isfinite(array.values)]
    if least is not None and finite.size and float(finite.min()) < least:
        message = (
            f"it blocks with {float(finite.min()):.4g}, which is -inf in {array.run_dtype} (its least is {least:.6g})"
        )
        yield found("N4", array.name, message)


def _blocking(array: GivenArray) -> DoubleArray | None:
    """The negative numbers of an additive mask, -inf among them."""
    if array.dialect not in ADDITIVE or array.values.dtype.kind != "f":
        return None
    values = array.values.astype(np.float64)
    return np.asarray(values[values < 0])


def window_of_array(case: Case) -> Iterator[Finding]:
    """L2: queries that see one key more or less than the window that is meant."""
    array = case.array
    if array is None or array.visible is None or array.sizes.window is None or array.dialect in _WITHOUT_ROWS:
        return
    queries, keys = array.visible.shape[2:]
    distance = np.arange(queries)[:, None] + keys - queries - np.arange(keys)[None, :]
    seen = array.visible.any(axis=(0, 1))
    if not seen.any() or keys <= array.sizes.window + 1:
        return
    most, wanted = int(distance[seen].max()) + 1, array.sizes.window
    if most in (wanted - 1, wanted + 1):
        yield found("L2", array.name, f"a query sees {most} keys, its own included, and the window is {wanted}")


def blank_head(case: Case) -> Iterator[Finding]:
    """H2: saved attention weights of which a head is zero everywhere."""
    array = case.array
    if array is None or array.dialect is not Dialect.WEIGHTS or array.values.ndim != 4 or not array.values.size:
        return
    blank = ~(array.values != 0).any(axis=(2, 3))  # [batch, head]
    if blank.any() and not blank.all():
        row, head = np.argwhere(blank)[0].tolist()
        count = int(blank.sum())
        many = "1 map is zero everywhere, that" if count == 1 else f"{count} maps are zero everywhere, the first"
        message = f"{many} of head {head} in row {row + 1}"
        yield found("H2", array.name, message)


LINTS: tuple[Lint, ...] = (
    Lint("N1", blind_queries, (Need.ARRAY,)),
    Lint("N2", weights_change_outputs, (Need.ARRAY,)),
    Lint("N3", minimum_twice, (Need.ARRAY,)),
    Lint("N4", constant, (Need.ARRAY,)),
    Lint("N6", no_number, (Need.ARRAY,)),
    Lint("L2", window_of_array, (Need.ARRAY,)),
    Lint("H2", blank_head, (Need.ARRAY,)),
)
