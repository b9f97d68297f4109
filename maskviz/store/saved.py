"""A saved run as metadata (JSON) and arrays; `archive` puts both into one file.

The arrays are named `ids`, `keep` (`decoder.ids`, `decoder.keep`), and per call N of three digits `call.N.visible`,
`call.N.reasons` (stored once per mask; the entry's `mask_of` says with which call) and `call.N.pattern`. A what-if
also keeps the plain run's attention as `before.N.pattern`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

import maskviz
from maskviz.core.arrays import AnyArray
from maskviz.core.results.results import Candidate, Comparison, HiddenDiff, LossDiff, PatternDiff, PlaceDiff
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import AttentionCall, Batch, Delivery, Mask, ModelCard, OutputKind, SilentLayer, Trace
from maskviz.core.words import Role, Stack
from maskviz.store.contents import VERSION
from maskviz.store.rules import rule_from_json, rule_to_json

Arrays = dict[str, AnyArray]


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """A run as it is saved.

    Attributes:
        trace: The run; of a what-if, the gated one.
        before: The plain run of a what-if, or None.
        change: The comparison of the two, or None.
        names: Printable tokens of the ids the comparison lists.
    """

    trace: Trace
    before: Trace | None = None
    change: Comparison | None = None
    names: dict[int, str] = field(default_factory=dict)


def to_parts(saved: Saved) -> tuple[dict[str, Any], Arrays]:
    """Split a saved run into its metadata, fit for JSON, and its arrays."""
    trace, arrays = saved.trace, Arrays()
    meta: dict[str, Any] = {
        "kind": "run",
        "version": VERSION,
        "maskviz": maskviz.__version__,
        "model": asdict(trace.card),
        "batch": batch_to_json(trace.batch, arrays, ""),
        "calls": [_call_to_json(index, trace, arrays) for index in range(len(trace.calls))],
        "drift": trace.drift,
        "plain_attention": trace.plain_attention,
        "rounding": trace.rounding,
        "notes": list(trace.notes),
        "silent": [asdict(layer) for layer in trace.silent],
    }
    if trace.head_mask is not None:
        meta["head_mask"] = {stack: gates.tolist() for stack, gates in trace.head_mask.gates.items()}
    if saved.before is not None and saved.change is not None:
        meta["change"] = _change_to_json(saved.change)
        meta["before"] = {"drift": saved.before.drift, "plain_attention": saved.before.plain_attention}
        meta["names"] = {str(index): name for index, name in saved.names.items()}
        for index, call in enumerate(saved.before.calls):
            if call.pattern is not None:
                arrays[f"before.{index:03d}.pattern"] = call.pattern
    return meta, arrays


def from_parts(meta: dict[str, Any], arrays: Arrays) -> Saved:
    """Join what `to_parts` split and `checks` has looked at."""
    card, batch, notes = card_from_json(meta["model"]), batch_from_json(meta["batch"], arrays, ""), tuple(meta["notes"])
    masks: dict[int, Mask] = {}
    calls = tuple(_call_from_json(index, entry, arrays, masks) for index, entry in enumerate(meta["calls"]))
    gates = meta.get("head_mask")
    head_mask = None if gates is None else HeadMask({name: np.array(table) for name, table in gates.items()})
    silent = tuple(SilentLayer(**{**layer, "stack": Stack(layer["stack"])}) for layer in meta["silent"])
    trace = Trace(card, batch, calls, None, head_mask, meta["drift"], meta["plain_attention"], notes, silent)
    trace = replace(trace, rounding=meta.get("rounding"))
    if "change" not in meta:
        return Saved(trace)
    earlier = tuple(
        replace(call, pattern=arrays.get(f"before.{index:03d}.pattern")) for index, call in enumerate(calls)
    )
    plain = meta["before"]
    before = Trace(card, batch, earlier, None, None, plain["drift"], plain["plain_attention"], notes)
    names = {int(index): name for index, name in meta["names"].items()}
    return Saved(trace, before, _change_from_json(meta["change"], calls), names)


def card_from_json(data: dict[str, Any]) -> ModelCard:
    """A model card from checked metadata."""
    fields: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in data.items()}
    return ModelCard(**fields)


def batch_to_json(batch: Batch, arrays: Arrays, prefix: str) -> dict[str, Any]:
    """A batch fit for JSON; its arrays go into `arrays`, their names behind a prefix."""
    arrays[f"{prefix}ids"], arrays[f"{prefix}keep"] = batch.ids, batch.keep
    data: dict[str, Any] = {"tokens": batch.tokens, "roles": batch.roles, "texts": batch.texts}
    for name in ("token_types", "position_ids", "documents"):
        value = getattr(batch, name)
        if value is not None:
            arrays[f"{prefix}{name}"] = value
    if batch.decoder is not None:
        data["decoder"] = batch_to_json(batch.decoder, arrays, "decoder.")
    return data


def batch_from_json(data: dict[str, Any], arrays: Arrays, prefix: str) -> Batch:
    """Read what `batch_to_json` wrote and `checks` has looked at."""
    return Batch(
        ids=arrays[f"{prefix}ids"],
        keep=arrays[f"{prefix}keep"],
        tokens=tuple(map(tuple, data["tokens"])),
        roles=tuple(tuple(map(Role, row)) for row in data["roles"]),
        texts=tuple(data["texts"]),
        token_types=arrays.get(f"{prefix}token_types"),
        position_ids=arrays.get(f"{prefix}position_ids"),
        documents=arrays.get(f"{prefix}documents"),
        decoder=batch_from_json(data["decoder"], arrays, "decoder.") if "decoder" in data else None,
    )


# Of every call that has a matrix.
_KIND = "softmax"


def _call_to_json(index: int, trace: Trace, arrays: Arrays) -> dict[str, Any]:
    call = trace.calls[index]
    holder = next(other for other, earlier in enumerate(trace.calls) if earlier.mask is call.mask)
    if holder == index:
        arrays[f"call.{index:03d}.visible"] = call.mask.visible
        arrays[f"call.{index:03d}.reasons"] = call.mask.reasons
    if call.pattern is not None:
        arrays[f"call.{index:03d}.pattern"] = call.pattern
    return {
        "stack": call.stack,
        "layer": call.layer,
        "module": call.module,
        "heads": call.heads,
        "key_heads": call.key_heads,
        "kind": _KIND,
        "mask_of": holder,
        "rule": str(call.mask.rule),
        "rule_parts": rule_to_json(call.mask.rule),
        "agrees": call.mask.agrees,
        "query_offset": call.mask.query_offset,
        "delivery": call.mask.delivery,
        "drift": trace.drift,
    }


def _call_from_json(index: int, entry: dict[str, Any], arrays: Arrays, masks: dict[int, Mask]) -> AttentionCall:
    holder = entry["mask_of"]
    if holder == index:
        masks[index] = Mask(
            arrays[f"call.{index:03d}.visible"],
            arrays[f"call.{index:03d}.reasons"],
            rule_from_json(entry["rule_parts"]),
            query_offset=entry["query_offset"],
            delivery=Delivery(entry["delivery"]),
        )
    return AttentionCall(
        Stack(entry["stack"]),
        entry["layer"],
        entry["module"],
        entry["heads"],
        entry["key_heads"],
        masks[holder],
        arrays.get(f"call.{index:03d}.pattern"),
    )


def _change_to_json(change: Comparison) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "labels": change.labels,
        "places": [asdict(place) for place in change.places],
        "losses": [asdict(loss) for loss in change.losses],
        "hidden": [asdict(hidden) for hidden in change.hidden],
        "moved": [diff.moved.tolist() for diff in change.patterns],
    }


def _change_from_json(data: dict[str, Any], calls: tuple[AttentionCall, ...]) -> Comparison:
    def place(one: dict[str, Any]) -> PlaceDiff:
        return PlaceDiff(**{**one, "candidates": tuple(Candidate(**_numbers(each)) for each in one["candidates"])})

    moved = (np.array(distances, dtype=np.float32) for distances in data["moved"])
    return Comparison(
        kind=None if data["kind"] is None else OutputKind(data["kind"]),
        labels=tuple(data["labels"]),
        places=tuple(map(place, data["places"])),
        losses=tuple(LossDiff(**_numbers(loss)) for loss in data["losses"]),
        hidden=tuple(HiddenDiff(**_numbers(hidden)) for hidden in data["hidden"]),
        patterns=tuple(map(PatternDiff, calls, moved)),
    )


def _numbers(data: dict[str, Any]) -> dict[str, Any]:
    """The same with NaN for null, which stands for it in JSON."""
    return {name: math.nan if one is None else one for name, one in data.items()}
