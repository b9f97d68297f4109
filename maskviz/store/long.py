"""A long run as metadata (JSON) and arrays, "kind": "long" in its metadata; `archive` puts both into one file.

The arrays are named `ids`, `keep` (`decoder.ids`, `decoder.keep`), and per call N of three digits `call.N.sums`,
`call.N.largest`, `call.N.statistic.NAME`, `call.N.rows` and, where a region was kept, `call.N.region`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

import maskviz
from maskviz.core.algebra import Grid
from maskviz.core.arrays import FloatArray
from maskviz.core.extents import Lengths, extents_of
from maskviz.core.long import LongCall, LongTrace, Region
from maskviz.core.words import Stack, Statistic, Way
from maskviz.store.checks import LARGEST_WEIGHT, are_weights, card_from_json, count, number, text
from maskviz.store.rules import rule_from_json, rule_to_json
from maskviz.store.saved import VERSION, Arrays, batch_from_json, batch_to_json

KIND = "long"
_SHARES = frozenset(Statistic) - {Statistic.ENTROPY, Statistic.DISTANCE}


def long_to_parts(trace: LongTrace) -> tuple[dict[str, Any], Arrays]:
    """Split a long run into its metadata, fit for JSON, and its arrays. What came out is not kept."""
    arrays = Arrays()
    meta = {
        "kind": KIND,
        "version": VERSION,
        "maskviz": maskviz.__version__,
        "model": asdict(trace.card),
        "batch": batch_to_json(trace.batch, arrays, ""),
        "calls": [_call_to_json(index, call, arrays) for index, call in enumerate(trace.calls)],
        "tile": trace.tile,
        "rows": list(trace.rows),
        "region": None if trace.region is None else asdict(trace.region),
        "sampled": trace.sampled,
        "notes": list(trace.notes),
    }
    return meta, arrays


def long_from_parts(meta: dict[str, Any], arrays: Arrays) -> LongTrace:
    """Join what `long_to_parts` split.

    Raises:
        ValueError, KeyError, TypeError, IndexError: it is something else, or does not fit together.
    """
    if meta["version"] != VERSION:
        raise ValueError(f"written in format {meta['version']}, this maskviz reads {VERSION}")
    kept = meta["region"]
    trace = LongTrace(
        card=card_from_json(meta["model"]),
        batch=batch_from_json(meta["batch"], arrays, ""),
        calls=tuple(_call_from_json(index, entry, arrays) for index, entry in enumerate(meta["calls"])),
        tile=count(meta["tile"]),
        rows=tuple(map(count, meta["rows"])),
        region=None if kept is None else Region(**{name: count(place) for name, place in kept.items()}),
        sampled=count(meta["sampled"]),
        notes=tuple(map(text, list(meta["notes"]))),
    )
    _check(trace)
    return trace


def means_to_json(trace: LongTrace) -> list[dict[str, Any]]:
    """For each call the mean of each statistic over the real queries, [batch][head]: what is left of them in .json."""
    return [
        {statistic.value: _means(values).round(6).tolist() for statistic, values in call.statistics.items()}
        for call in trace.calls
    ]


def _means(values: FloatArray) -> FloatArray:
    known = ~np.isnan(values)
    mean: FloatArray = np.where(known, values, 0).sum(axis=-1, dtype=np.float64) / np.maximum(known.sum(axis=-1), 1)
    return np.where(known.any(axis=-1), mean, np.nan)


def _call_to_json(index: int, call: LongCall, arrays: Arrays) -> dict[str, Any]:
    name = f"call.{index:03d}"
    arrays[f"{name}.sums"], arrays[f"{name}.largest"] = call.sums, call.largest
    for statistic, values in call.statistics.items():
        arrays[f"{name}.statistic.{statistic.value}"] = values
    arrays[f"{name}.rows"] = call.rows
    if call.region is not None:
        arrays[f"{name}.region"] = call.region
    return {
        "stack": call.stack,
        "layer": call.layer,
        "module": call.module,
        "heads": call.heads,
        "key_heads": call.key_heads,
        "rule": str(call.rule),
        "rule_parts": rule_to_json(call.rule),
        "queries": call.queries,
        "keys": call.keys,
        "way": call.way,
        "difference": call.difference,
    }


def _call_from_json(index: int, entry: dict[str, Any], arrays: Arrays) -> LongCall:
    name = f"call.{index:03d}"
    statistics = {
        statistic: arrays[f"{name}.statistic.{statistic.value}"]
        for statistic in Statistic
        if f"{name}.statistic.{statistic.value}" in arrays
    }
    return LongCall(
        stack=Stack(entry["stack"]),
        layer=count(entry["layer"]),
        module=text(entry["module"]),
        heads=count(entry["heads"]),
        key_heads=count(entry["key_heads"]),
        rule=rule_from_json(entry["rule_parts"]),
        queries=count(entry["queries"]),
        keys=count(entry["keys"]),
        sums=arrays[f"{name}.sums"],
        largest=arrays[f"{name}.largest"],
        statistics=statistics,
        rows=arrays[f"{name}.rows"],
        region=arrays.get(f"{name}.region"),
        way=Way(entry["way"]),
        difference=number(entry["difference"]),
    )


def _check(trace: LongTrace) -> None:
    """Make sure that what is drawn of a long run means what the picture says.

    Raises:
        ValueError, IndexError, TypeError: there is no call or no tile, shapes do not fit the text, a rule cannot be
            asked, or attention is no share.
    """
    if not trace.calls or trace.tile < 1:
        raise ValueError("it has no attention call, or no tile")
    for call in trace.calls:
        if call.layer >= 10_000 or call.heads < 1 or call.key_heads < 1 or call.queries < 1 or call.keys < 1:
            raise ValueError(f"layer {call.layer} with {call.heads} heads is no layer")
        if call.stack is Stack.CROSS and trace.batch.decoder is None:
            raise ValueError("it has cross attention and no decoder")
        _check_shapes(trace, call)
        _check_numbers(trace, call)
        # A damaged rule fails here and not in the middle of a picture.
        _ = str(call.rule), extents_of(call.rule, Lengths(call.queries, call.keys))
        if call.rule.readable:
            at = Grid.of(trace.batch.rows, 1, call.keys)
            np.broadcast_to(call.rule.visible(at), at.shape)


def _check_shapes(trace: LongTrace, call: LongCall) -> None:
    outer = (trace.batch.rows, call.heads)
    tiles = tuple(-(-length // trace.tile) for length in (call.queries, call.keys))
    found = {"sums": call.sums.shape, "rows": call.rows.shape}
    expected = {"sums": (*outer, *tiles), "rows": (*outer, len(trace.rows), call.keys)}
    if call.region is not None:
        kept = trace.region
        if kept is None:
            raise ValueError(f"{call.stack} layer {call.layer} has a region that is not named")
        inside = kept.first_query < kept.last_query <= call.queries and kept.first_key < kept.last_key <= call.keys
        found["region"] = call.region.shape if inside else ()
        expected["region"] = (*outer, kept.last_query - kept.first_query, kept.last_key - kept.first_key)
    if found != expected or any(query >= call.queries for query in trace.rows):
        raise ValueError(f"{call.stack} layer {call.layer}: {found} should be {expected}")


def _check_numbers(trace: LongTrace, call: LongCall) -> None:
    parts: list[FloatArray] = [call.largest, call.rows, (call.sums / trace.tile).astype(np.float32)]
    parts += [] if call.region is None else [call.region]
    parts += [values for statistic, values in call.statistics.items() if statistic in _SHARES]
    others = [values for statistic, values in call.statistics.items() if statistic not in _SHARES]
    most = float(max(call.queries, call.keys)) * LARGEST_WEIGHT
    sound = all(are_weights(part) for part in parts)
    if not sound or any((values < -1e-3).any() or (values > most).any() for values in others):
        raise ValueError(f"the attention of {call.stack} layer {call.layer} is not between 0 and 1")
