"""Whether a file holds what `contents` says, and whether its parts fit each other: asked before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from maskviz.core.arrays import AnyArray
from maskviz.core.run.trace import OutputKind
from maskviz.core.words import Stack
from maskviz.store.container import Header
from maskviz.store.contents import KINDS, Meta, arrays_of, lengths_of, sides_of
from maskviz.store.rules import RuleIn
from maskviz.store.schema import MisfitError, OneOf


def check_metadata(meta: Any) -> None:
    """Make sure of the metadata of a run of the version that is written.

    Raises:
        MisfitError: something is missing, is not known, or does not fit.
    """
    if not isinstance(meta, dict):
        raise MisfitError("its metadata is no object")
    OneOf(KINDS).check(meta.get("kind"))
    KINDS[meta["kind"]].check(meta)
    for holds, place, said in _agreements(meta):
        if not holds:
            raise MisfitError(said, place)
    rows = len(meta["batch"]["tokens"])
    for number, call in enumerate(meta["calls"]):
        try:
            RuleIn(rows, call["heads"]).check(call["rule_parts"])
        except MisfitError as error:
            raise error.inside(f"calls[{number}].rule_parts") from None


# Whether something holds, where, and what is wrong where it does not.
Agreement = tuple[bool, str, str]


def _agreements(meta: Meta) -> Iterator[Agreement]:
    """What the parts of metadata owe each other; a later one may rely on those before it."""
    card, batch = meta["model"], meta["batch"]
    yield len(card["heads"]) <= len(card["key_heads"]), "model", "it has heads without key heads"
    for name, side in sides_of(batch).items():
        for what in ("tokens", "roles"):
            alike = _form(side[what]) == (len(batch["tokens"]), len(side["tokens"][0]))
            yield alike, f"{name}.{what}", "it has not one entry for each token"
    for number, call in enumerate(meta["calls"]):
        place = f"calls[{number}]"
        crosses = call["stack"] != Stack.CROSS or "decoder" in batch
        yield crosses, place, "it has cross attention and no decoder"
        yield call["key_heads"] <= call["heads"], place, "it has more key heads than heads"
    yield from _of_long(meta) if meta["kind"] == "long" else _of_run(meta)


def _of_run(meta: Meta) -> Iterator[Agreement]:
    calls = meta["calls"]
    yield bool(calls or meta["silent"]), "calls", "it has no attention call"
    for number, call in enumerate(calls):
        holder = call["mask_of"]
        known = holder <= number and calls[holder]["mask_of"] == holder
        yield known, f"calls[{number}].mask_of", f"call {holder} holds no mask"
    for stack, gates in meta.get("head_mask", {}).items():
        heads = [call["heads"] for call in calls if call["stack"] == stack and call["layer"] < len(gates)]
        yield max(heads, default=0) <= len(gates[0]), f"head_mask.{stack}", "it does not cover the heads"
    parts = [name for name in ("change", "before", "names") if name in meta]
    yield len(parts) in (0, 3), "", f"of what a head mask changed it has {', '.join(parts)} alone"
    if "change" in meta:
        yield from _of_change(meta["change"], meta)


def _of_change(change: Meta, meta: Meta) -> Iterator[Agreement]:
    rows, length = _form(meta["batch"].get("decoder", meta["batch"])["tokens"])
    for part in ("places", "losses", "hidden"):
        for number, one in enumerate(change[part]):
            yield one["row"] < rows, f"change.{part}[{number}]", f"there is no text {one['row']}"
    for number, one in enumerate(change["places"]):
        place = f"change.places[{number}]"
        yield one["position"] < length, place, f"there is no token {one['position']}"
        listed = [candidate["index"] for candidate in one["candidates"]]
        yield not change["labels"] or max(listed, default=0) < len(change["labels"]), place, "a class has no label"
        shares = change["kind"] == OutputKind.SCORE or all(
            0 <= (candidate[run] or 0) <= 1 for candidate in one["candidates"] for run in ("before", "after")
        )
        yield shares, place, "a probability is not between 0 and 1"
    heads = [call["heads"] for call in meta["calls"]]
    yield [len(moved) for moved in change["moved"]] == heads, "change.moved", "it has not one number for each head"


def _of_long(meta: Meta) -> Iterator[Agreement]:
    for number, call in enumerate(meta["calls"]):
        fitting = (call["queries"], call["keys"]) == lengths_of(meta["batch"], call["stack"])
        yield fitting, f"calls[{number}]", "its queries and keys are not the tokens"
    queries = min(call["queries"] for call in meta["calls"])
    yield all(row < queries for row in meta["rows"]), "rows", "a row is behind the last query"
    region, keys = meta["region"], min(call["keys"] for call in meta["calls"])
    if region is not None:
        inside = region["first_query"] < region["last_query"] <= queries
        yield inside and region["first_key"] < region["last_key"] <= keys, "region", "it is not inside the text"


def _form(table: list[list[Any]]) -> tuple[int, int]:
    return len(table), len(table[0])


def check_arrays(meta: Meta, forms: Mapping[str, Header]) -> None:
    """Make sure of the names, types and shapes of the arrays of a run that are still packed.

    Raises:
        MisfitError: one is missing, is not known, or does not fit.
    """
    known, lengths = arrays_of(meta), dict[str, int]()
    for name in forms:
        if name not in known:
            raise MisfitError(f"no array of this run is called {name[:60]!r}")
    for name, one in known.items():
        try:
            if name in forms:
                one.check_form(forms[name].dtype, forms[name].shape, lengths)
            elif one.needed:
                raise MisfitError("it is missing")
        except MisfitError as error:
            raise error.inside(name) from None
    for holds, place, said in _patterns_agree(meta, forms):
        if not holds:
            raise MisfitError(said, place)


def _patterns_agree(meta: Meta, forms: Mapping[str, Header]) -> Iterator[Agreement]:
    """What the attention of a call owes its mask, and that of a run before it."""
    if meta["kind"] == "long":
        return
    for number, call in enumerate(meta["calls"]):
        masks = forms[f"call.{call['mask_of']:03d}.visible"].shape[1]
        yield masks in (1, call["heads"]), f"calls[{number}]", f"its mask is one of {masks} heads"
    for number, moved in enumerate(meta.get("change", {}).get("moved", ())):
        now, before = (f"{run}.{number:03d}.pattern" in forms for run in ("call", "before"))
        yield now == before, f"calls[{number}]", "of the runs before and after only one has its attention"
        known = now or all(one is None for one in moved)
        yield known, f"change.moved[{number}]", "attention moved that it does not have"


def check_values(meta: Meta, arrays: Mapping[str, AnyArray]) -> None:
    """Make sure of what is in the arrays of a run.

    Raises:
        MisfitError: a value is out of its range, or a cell is visible and has a reason to be blocked.
    """
    for name, one in arrays_of(meta).items():
        if name in arrays:
            try:
                one.check_values(arrays[name])
            except MisfitError as error:
                raise error.inside(name) from None
        if name.endswith(".visible") and (arrays[name] != (arrays[name.replace("visible", "reasons")] == 0)).any():
            raise MisfitError("a cell is visible and has a reason, or is blocked without one", name)
