"""One head on a long text: its statistics along the queries, and the keys its chosen rows look at."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from maskviz.core.arrays import FloatArray, IntArray
from maskviz.core.panels.charts import Curve, CurveLine
from maskviz.core.panels.page import Table
from maskviz.core.results.long_reading import CallReading
from maskviz.core.run.long import LongTrace
from maskviz.core.words import Statistic
from maskviz.core.writing import plural
from maskviz.view.long.maps import head_name

_POINTS = 200

SHARES = {
    Statistic.FIRST: "first token",
    Statistic.PREVIOUS: "previous token",
    Statistic.ITSELF: "itself",
    Statistic.INDUCTION: "induction",
    Statistic.SPECIAL: "special tokens",
    Statistic.PADDING: "padding keys",
}


def curves(trace: LongTrace, one: CallReading, head: int) -> list[Curve]:
    """The statistics of a head along the queries: shares of its attention, effective number of keys, distance."""
    own = {statistic: values[head] for statistic, values in one.statistics.items()}
    shares = [statistic for statistic in SHARES if statistic in own and one.means[statistic][head] > 0]
    shares.sort(key=lambda statistic: -float(one.means[statistic][head]))
    name = head_name(trace, one.call, head)
    found = []
    if shares:
        lines = {SHARES[statistic]: own[statistic] for statistic in shares}
        found.append(_curve(f"{name}: what its queries look at", "share of attention", lines))
    if Statistic.ENTROPY in own:
        keys = {"exp(entropy)": np.exp(own[Statistic.ENTROPY])}
        found.append(_curve(f"{name}: effective number of keys", "keys", keys))
    if Statistic.DISTANCE in own:
        distance = {"mean of |query - key|": own[Statistic.DISTANCE]}
        found.append(_curve(f"{name}: how far it looks", "tokens", distance))
    return found


def _curve(title: str, y_name: str, lines: Mapping[str, FloatArray]) -> Curve:
    """Lines of float32 [query], folded into few points; the first has a band."""
    count = len(next(iter(lines.values())))
    run = -(-count // _POINTS)
    starts = np.arange(0, count, run)
    band = f"; the band of {next(iter(lines))} goes from the smallest to the largest"
    return Curve(
        title=title,
        caption=f"each point: the mean of {run} queries{band}" if run > 1 else "",
        x=(starts + (np.minimum(starts + run, count) - starts - 1) / 2).astype(np.float32),
        x_name="query",
        y_name=y_name,
        lines=tuple(
            _line(name, values, starts, band=run > 1 and number == 0)
            for number, (name, values) in enumerate(lines.items())
        ),
    )


def _line(name: str, values: FloatArray, starts: IntArray, *, band: bool) -> CurveLine:
    """A line of float32 [query] in runs that begin at `starts`; NaN where a run has no number."""
    known = ~np.isnan(values)
    count = np.add.reduceat(known, starts, dtype=np.int64)
    total = np.add.reduceat(np.where(known, values, 0), starts, dtype=np.float64)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    low, high = (np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)) if band else (None, None)
    return CurveLine(name, mean, low, high)


def row_tables(trace: LongTrace, one: CallReading, head: int, row: int) -> list[Table]:
    """For each chosen row that is no padding the keys it looks at most."""
    down, across = trace.sides(one.call)
    real = trace.real_queries(one.call)[row]
    tables: list[Table] = []
    for number, query in enumerate(trace.rows):
        if query >= len(real) or not real[query]:
            continue
        weights = one.rows[head, number]
        keys = [key for key in one.top_keys[head, number].tolist() if weights[key] > 0]
        shown = float(weights[keys].sum())
        same = down is across  # an offset between two texts says nothing
        cells = [
            (f"{key:,}", across.tokens[row][key], *((_offset(key - query),) if same else ()), _weight(weights[key]))
            for key in keys
        ]
        tables.append(
            Table(
                title=f"{head_name(trace, one.call, head)}, query {query:,} “{down.tokens[row][query].strip()}”",
                columns=("key>", "token", *(("offset>",) if same else ()), "attention>"),
                rows=tuple(cells),
                caption=f"{plural(len(keys), 'key')} of most attention, together {shown:.1%}",
            )
        )
    return tables


def _offset(tokens: int) -> str:
    return f"{tokens:+,}" if tokens else "0"


def _weight(weight: float) -> str:
    return f"{weight:.4f}" if weight >= 0.001 else f"{weight:.1e}"
