"""A long run as metadata (JSON) and arrays, "kind": "long" in its metadata; `archive` puts both into one file.

The arrays are named `ids`, `keep` (`decoder.ids`, `decoder.keep`), and per call N of three digits `call.N.sums`,
`call.N.largest`, `call.N.statistic.NAME`, `call.N.rows` and, where a region was kept, `call.N.region`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

import maskviz
from maskviz.core.arrays import FloatArray
from maskviz.core.run.long import LongCall, LongTrace, Region
from maskviz.core.words import Stack, Statistic, Way
from maskviz.store.contents import VERSION
from maskviz.store.rules import rule_from_json, rule_to_json
from maskviz.store.saved import Arrays, batch_from_json, batch_to_json, card_from_json

KIND = "long"


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
    """Join what `long_to_parts` split and `checks` has looked at."""
    kept = meta["region"]
    return LongTrace(
        card=card_from_json(meta["model"]),
        batch=batch_from_json(meta["batch"], arrays, ""),
        calls=tuple(_call_from_json(index, entry, arrays) for index, entry in enumerate(meta["calls"])),
        tile=meta["tile"],
        rows=tuple(meta["rows"]),
        region=None if kept is None else Region(**kept),
        sampled=meta["sampled"],
        notes=tuple(meta["notes"]),
    )


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
        layer=entry["layer"],
        module=entry["module"],
        heads=entry["heads"],
        key_heads=entry["key_heads"],
        rule=rule_from_json(entry["rule_parts"]),
        queries=entry["queries"],
        keys=entry["keys"],
        sums=arrays[f"{name}.sums"],
        largest=arrays[f"{name}.largest"],
        statistics=statistics,
        rows=arrays[f"{name}.rows"],
        region=arrays.get(f"{name}.region"),
        way=Way(entry["way"]),
        difference=entry["difference"],
    )
