"""What the file of a run may hold: its metadata and its arrays.

This is the one place that says it. What does not fit is refused when the file is opened (`checks`), so that everything
behind it may rely on it. It describes the version that is written; `versions` turns earlier metadata into it.
"""

from __future__ import annotations

import math
from typing import Any

from maskviz.core.run.trace import UNKNOWN, Delivery, OutputKind
from maskviz.core.words import Role, Stack, Statistic, Way
from maskviz.store.schema import (
    Anything,
    Array,
    Integer,
    ListOf,
    MapOf,
    Nullable,
    Number,
    OneOf,
    Record,
    String,
    TableOf,
    Truth,
)

VERSION = 2
Meta = dict[str, Any]

# Attention weights are rounded in 16 bits, so a row's largest may be a little above 1.
LARGEST_WEIGHT = 1.05
TEXT, FLAG = String(), Truth()
COUNT, SIZE = Integer(0, 2**62), Integer(1, 2**31)
LAYER, HEADS = Integer(0, 9_999), Integer(1, 9_999)
PLACE = Integer(0, 2**24)  # of a token in a text
NUMBER = Nullable(Number())
SHARE = Nullable(Number(0, LARGEST_WEIGHT))

CARD = Record(
    name=TEXT,
    architecture=TEXT,
    model_type=TEXT,
    encoder_decoder=FLAG,
    layers=ListOf(HEADS, most=2),
    heads=ListOf(HEADS, most=2),
    key_heads=ListOf(HEADS, most=2),
    hidden_size=Nullable(SIZE),
    vocabulary=Nullable(SIZE),
    positions=Nullable(SIZE),
    attention=ListOf(TEXT),
    parameters=COUNT,
    dtype=TEXT,
    device=TEXT,
    note=TEXT,
)
ROWS_OF_TOKENS = {"tokens": TableOf(TEXT), "roles": TableOf(OneOf(Role)), "texts": ListOf(TEXT)}
BATCH = Record({"decoder": Record(**ROWS_OF_TOKENS)}, **ROWS_OF_TOKENS)
# What calls of both kinds of run say. What their rules may be depends on the batch: `rules.RuleIn`.
ANY_CALL = {
    "stack": OneOf(Stack),
    "layer": LAYER,
    "module": TEXT,
    "heads": HEADS,
    "key_heads": HEADS,
    "rule": TEXT,
    "rule_parts": Anything(),
}
CALL = Record(
    **ANY_CALL,
    kind=TEXT,
    mask_of=LAYER,
    agrees=Nullable(FLAG),
    query_offset=PLACE,
    delivery=OneOf(Delivery),
    drift=NUMBER,
)
SILENT = Record(stack=OneOf(Stack), layer=LAYER, module=TEXT, kind=TEXT, name=TEXT)
CHANGE = Record(
    kind=Nullable(OneOf(OutputKind)),
    labels=ListOf(TEXT),
    places=ListOf(
        Record(
            row=PLACE,
            position=Integer(-1, 2**24),
            candidates=ListOf(Record(index=Integer(0, 2**31), before=NUMBER, after=NUMBER)),
            divergence=NUMBER,
            flipped=FLAG,
        )
    ),
    losses=ListOf(Record(row=PLACE, tokens=COUNT, before=NUMBER, after=NUMBER)),
    hidden=ListOf(Record(row=PLACE, cosine=NUMBER, relative_norm=NUMBER)),
    moved=ListOf(ListOf(SHARE)),
)
# What runs of both kinds say.
ANY_RUN = {"version": OneOf((VERSION,)), "maskviz": TEXT, "model": CARD, "batch": BATCH, "notes": ListOf(TEXT)}
WHAT_IF = {
    "head_mask": MapOf(OneOf(Stack), TableOf(Number(0, 1))),
    "change": CHANGE,
    "before": Record(drift=NUMBER, plain_attention=TEXT),
    "names": MapOf(String(r"\d{1,10}"), TEXT),
}
RUN = Record(
    WHAT_IF | {"rounding": NUMBER},
    **ANY_RUN,
    kind=OneOf(("run",)),
    calls=ListOf(CALL, most=9_999),
    drift=NUMBER,
    plain_attention=TEXT,
    silent=ListOf(SILENT),
)
LONG_CALL = Record(**ANY_CALL, queries=PLACE, keys=PLACE, way=OneOf(Way), difference=NUMBER)
REGION = Record(first_query=PLACE, last_query=PLACE, first_key=PLACE, last_key=PLACE)
LONG_RUN = Record(
    **ANY_RUN,
    kind=OneOf(("long",)),
    calls=ListOf(LONG_CALL, 1, 9_999),
    tile=Integer(1, 2**24),
    rows=ListOf(PLACE),
    region=Nullable(REGION),
    sampled=COUNT,
)
KINDS = {"run": RUN, "long": LONG_RUN}


def sides_of(batch: Meta) -> dict[str, Meta]:
    """The rows of tokens of a batch, by where they stand."""
    return {"batch": batch, **({"batch.decoder": batch["decoder"]} if "decoder" in batch else {})}


def lengths_of(batch: Meta, stack: str) -> tuple[int, int]:
    """Tokens of the sides that a stack's queries and keys are."""
    own = len(batch["tokens"][0])
    decoder = len(batch["decoder"]["tokens"][0]) if "decoder" in batch else own
    return {"encoder": (own, own), "decoder": (decoder, decoder), "cross": (decoder, own)}[stack]


def arrays_of(meta: Meta) -> dict[str, Array]:
    """Every array a run of checked metadata may hold, by name."""
    rows = len(meta["batch"]["tokens"])
    found: dict[str, Array] = {}
    for name, side in sides_of(meta["batch"]).items():
        found |= _of_batch("decoder." if name.endswith("decoder") else "", rows, len(side["tokens"][0]))
    of_call = _of_long_call if meta["kind"] == "long" else _of_call
    for number, call in enumerate(meta["calls"]):
        found |= {f"call.{number:03d}.{name}": one for name, one in of_call(meta, number, call).items()}
        if "before" in meta:
            found[f"before.{number:03d}.pattern"] = found[f"call.{number:03d}.pattern"]
    return found


def _of_batch(prefix: str, rows: int, length: int) -> dict[str, Array]:
    return {
        f"{prefix}ids": Array("int64", (rows, length), UNKNOWN, 2**31),
        f"{prefix}keep": Array("bool", (rows, length)),
        f"{prefix}token_types": Array("int64", (rows, length), 0, 2**31, needed=False),
        f"{prefix}position_ids": Array("int64", ("...", length), -(2**24), 2**24, needed=False),
        f"{prefix}documents": Array("int64", (rows, length), 0, 2**31, needed=False),
    }


def _of_call(meta: Meta, number: int, call: Meta) -> dict[str, Array]:
    """The arrays of a call; axes of calls that share a mask share a name."""
    rows, heads, holder = len(meta["batch"]["tokens"]), call["heads"], call["mask_of"]
    cells = (f"queries of call {holder}", f"keys of call {holder}")
    pattern = Array("float32", (rows, heads, *cells), 0, LARGEST_WEIGHT, gaps=True, needed=False)
    if holder != number:
        return {"pattern": pattern}
    masks = (rows, frozenset({1, heads}), *cells)
    return {"visible": Array("bool", masks), "reasons": Array("uint8", masks, 0, 255), "pattern": pattern}


def _of_long_call(meta: Meta, _: int, call: Meta) -> dict[str, Array]:
    outer, tile = (len(meta["batch"]["tokens"]), call["heads"]), meta["tile"]
    queries, keys, region = call["queries"], call["keys"], meta["region"]
    tiles = (*outer, -(-queries // tile), -(-keys // tile))
    most = {Statistic.ENTROPY: math.log(keys) + 1, Statistic.DISTANCE: max(queries, keys)}
    found = {
        "sums": Array("float32", tiles, 0, tile * LARGEST_WEIGHT, gaps=True),
        "largest": Array("float32", tiles, 0, LARGEST_WEIGHT, gaps=True),
        "rows": Array("float32", (*outer, len(meta["rows"]), keys), 0, LARGEST_WEIGHT, gaps=True),
    }
    for one in Statistic:
        limits = (-1e-3 if one in most else 0, most.get(one, 1) * LARGEST_WEIGHT)
        found[f"statistic.{one.value}"] = Array("float32", (*outer, queries), *limits, gaps=True, needed=False)
    if region is not None:
        part = (region["last_query"] - region["first_query"], region["last_key"] - region["first_key"])
        found["region"] = Array("float32", (*outer, *part), 0, LARGEST_WEIGHT, gaps=True)
    return found
