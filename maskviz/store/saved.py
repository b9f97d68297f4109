"""A saved run as metadata (JSON) and arrays; `archive` puts both into one file.

The arrays are named `ids`, `keep` (`decoder.ids`, `decoder.keep`), and per call N of three digits `call.N.visible`,
`call.N.reasons` (stored once per mask; the entry's `mask_of` says with which call) and `call.N.pattern`. A what-if
also keeps the plain run's attention as `before.N.pattern`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

import maskviz
from maskviz.core.arrays import AnyArray
from maskviz.core.heads import HeadMask
from maskviz.core.masks import Delivery, Mask
from maskviz.core.results import Candidate, Comparison, HiddenDiff, LossDiff, PatternDiff, PlaceDiff
from maskviz.core.trace import AttentionCall, Batch, OutputKind, SilentLayer, Trace
from maskviz.core.words import Role, Stack
from maskviz.store.checks import card_from_json, check, number
from maskviz.store.rules import rule_from_json, rule_to_json

VERSION = 1
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
        "version": VERSION,
        "maskviz": maskviz.__version__,
        "model": asdict(trace.card),
        "batch": batch_to_json(trace.batch, arrays, ""),
        "calls": [_call_to_json(index, trace, arrays) for index in range(len(trace.calls))],
        "drift": trace.drift,
        "plain_attention": trace.plain_attention,
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
    """Join what `to_parts` split.

    Raises:
        ValueError, KeyError, TypeError: it is something else, or does not fit together.
    """
    if meta["version"] != VERSION:
        raise ValueError(f"written in format {meta['version']}, this maskviz reads {VERSION}")
    batch = batch_from_json(meta["batch"], arrays, "")
    masks: dict[int, Mask] = {}
    calls = tuple(_call_from_json(index, entry, arrays, masks) for index, entry in enumerate(meta["calls"]))
    gates = meta.get("head_mask")
    head_mask = None if gates is None else HeadMask({name: np.array(table) for name, table in gates.items()})
    card = card_from_json(meta["model"])
    drift, plain, notes = number(meta["drift"]), str(meta["plain_attention"]), tuple(map(str, list(meta["notes"])))
    silent = tuple(_silent_from_json(layer) for layer in meta.get("silent", ()))
    trace = Trace(card, batch, calls, None, head_mask, drift, plain, notes, silent)
    check(trace)
    if "change" not in meta:
        return Saved(trace)
    earlier = tuple(_with_pattern(call, arrays.get(f"before.{index:03d}.pattern")) for index, call in enumerate(calls))
    plain_run = meta["before"]
    before = Trace(
        card, batch, earlier, None, None, number(plain_run["drift"]), str(plain_run["plain_attention"]), notes
    )
    check(before)
    names = {int(index): str(name) for index, name in meta["names"].items()}
    return Saved(trace, before, _change_from_json(meta["change"], calls), names)


def _silent_from_json(data: dict[str, Any]) -> SilentLayer:
    texts = (str(data[name]) for name in ("module", "kind", "name"))
    return SilentLayer(Stack(data["stack"]), int(data["layer"]), *texts)


def _with_pattern(call: AttentionCall, pattern: AnyArray | None) -> AttentionCall:
    return AttentionCall(call.stack, call.layer, call.module, call.heads, call.key_heads, call.mask, pattern, call.kind)


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
    """Read what `batch_to_json` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is something else.
    """
    return Batch(
        ids=arrays[f"{prefix}ids"],
        keep=arrays[f"{prefix}keep"],
        tokens=tuple(tuple(map(str, row)) for row in data["tokens"]),
        roles=tuple(tuple(map(Role, row)) for row in data["roles"]),
        texts=tuple(map(str, data["texts"])),
        token_types=arrays.get(f"{prefix}token_types"),
        position_ids=arrays.get(f"{prefix}position_ids"),
        documents=arrays.get(f"{prefix}documents"),
        decoder=batch_from_json(data["decoder"], arrays, "decoder.") if "decoder" in data else None,
    )


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
        "kind": call.kind,
        "mask_of": holder,
        "rule": str(call.mask.rule),
        "rule_parts": rule_to_json(call.mask.rule),
        "agrees": call.mask.agrees,
        "query_offset": call.mask.query_offset,
        "delivery": call.mask.delivery,
        "drift": trace.drift,
    }


def _call_from_json(index: int, entry: dict[str, Any], arrays: Arrays, masks: dict[int, Mask]) -> AttentionCall:
    holder = int(entry["mask_of"])
    if holder == index:
        masks[index] = Mask(
            arrays[f"call.{index:03d}.visible"],
            arrays[f"call.{index:03d}.reasons"],
            rule_from_json(entry["rule_parts"]),
            query_offset=int(entry["query_offset"]),
            delivery=Delivery(entry["delivery"]),
        )
    return AttentionCall(
        Stack(entry["stack"]),
        int(entry["layer"]),
        str(entry["module"]),
        int(entry["heads"]),
        int(entry["key_heads"]),
        masks[holder],
        arrays.get(f"call.{index:03d}.pattern"),
        str(entry["kind"]),
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
    places = []
    for place in data["places"]:
        candidates = tuple(Candidate(**candidate) for candidate in place["candidates"])
        places.append(PlaceDiff(**{**place, "candidates": candidates}))
    return Comparison(
        kind=None if data["kind"] is None else OutputKind(data["kind"]),
        labels=tuple(data["labels"]),
        places=tuple(places),
        losses=tuple(LossDiff(**loss) for loss in data["losses"]),
        hidden=tuple(HiddenDiff(**hidden) for hidden in data["hidden"]),
        patterns=tuple(
            PatternDiff(call, np.array(moved, dtype=np.float32))
            for call, moved in zip(calls, data["moved"], strict=True)
        ),
    )
