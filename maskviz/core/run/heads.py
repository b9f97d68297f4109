"""Naming heads and layers: `layer.head` from 0, selections, and the head mask with its grammar."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import FloatArray, sealed
from maskviz.core.errors import UsageError


@dataclass(frozen=True, slots=True, order=True)
class Head:
    """One head, written `layer.head`, both from 0."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"{self.layer}.{self.head}"


@dataclass(frozen=True, slots=True, eq=False)
class HeadMask:
    """Gates on heads, as in the classic `head_mask` argument.

    Attributes:
        gates: For each stack name ("encoder", "decoder", "cross") float32 [layer, head] in [0, 1];
            1 keeps a head, 0 silences it.
    """

    gates: Mapping[str, FloatArray]

    def __post_init__(self) -> None:
        gates = {stack: sealed(array, np.float32) for stack, array in self.gates.items()}
        for stack, array in gates.items():
            if array.ndim != 2 or not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
                raise ValueError(f"the gates of the {stack} must be [layer, head] within [0, 1]")
        object.__setattr__(self, "gates", gates)

    def of(self, stack: str, layer: int) -> FloatArray | None:
        """The gates float32 [head] of one layer, or None where all its heads are kept."""
        table = self.gates.get(stack)
        if table is None or layer >= len(table):
            return None
        gates: FloatArray = table[layer]
        return None if (gates == 1).all() else gates

    def changed(self) -> tuple[tuple[str, Head, float], ...]:
        """Every head whose gate is below 1, as (stack, head, gate)."""
        return tuple(
            (stack, Head(int(layer), int(head)), float(table[layer, head]))
            for stack, table in self.gates.items()
            for layer, head in np.argwhere(table < 1)
        )

    def __str__(self) -> str:
        """The mask in its own grammar, so that a report names the command that repeats it."""
        parts = []
        for stack, table in self.gates.items():
            prefix = "" if len(self.gates) == 1 else f"{stack} "
            for layer, row in enumerate(table):
                parts += [f"{prefix}{layer}:{spec}" for spec in _row_specs(row)]
        return "; ".join(parts)


def _row_specs(row: FloatArray) -> list[str]:
    if (row == 0).all():
        return ["*"]
    by_gate: dict[float, list[str]] = {}
    for head, gate in enumerate(row.tolist()):
        if gate < 1:
            by_gate.setdefault(gate, []).append(str(head))
    return [",".join(heads) + (f"={gate:g}" if gate else "") for gate, heads in by_gate.items()]


def parse_selection(text: str, count: int, what: str) -> tuple[int, ...]:
    """Read a selection such as `0,2-4,-1` of `count` things; negative numbers count from the end, `*` is all.

    Raises:
        UsageError: the text does not parse or names something out of range.
    """
    chosen: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(?:(\*)|(-?\d{1,9})(?:-(\d{1,9}))?)\s*", part)
        if match is None:
            raise UsageError(
                f"{what} {text[:60]!r}: cannot read {part.strip()[:60]!r}",
                "write numbers and ranges, such as 0,2-4,-1",
            )
        if match[1]:
            chosen += range(count)
            continue
        first = _in_range(int(match[2]), count, what)
        last = first if match[3] is None else _in_range(int(match[3]), count, what)
        if last < first:
            raise UsageError(
                f"{what} {text!r}: the range {part.strip()} runs backwards", "write the smaller number first"
            )
        chosen += range(first, last + 1)
    return tuple(dict.fromkeys(chosen))


def _in_range(number: int, count: int, what: str) -> int:
    if not -count <= number < count:
        raise UsageError(f"{what} {number} does not exist", f"this model has {what}s 0 to {count - 1}")
    return number % count


_ENTRY = re.compile(
    r"(?P<keep>keep\s+)?(?:(?P<stack>encoder|decoder|cross)\s+)?"
    r"(?:kv:(?P<key_layers>[^:=.]+)\.(?P<key_heads>[^:=.]+)|(?!kv:)(?P<layers>[^:=]+):(?P<heads>[^:=]+))"
    r"(?:=(?P<gate>[^:=]*))?"
)
# Query heads that read the same key head, for each layer of each stack; 1 where nothing is said.
Groups = Mapping[str, Sequence[int]]


def parse_head_mask(text: str, shapes: Mapping[str, tuple[int, int]], groups: Groups | None = None) -> HeadMask:
    """Read a head mask such as `0:3,5; 2:*; 4:1=0.5; keep 6:1,2; cross 1:0; kv:3.1`.

    An entry is `[keep] [stack] layers:heads[=gate]`: it sets the gate of the heads named (0 unless given), or,
    with `keep`, silences all others of those layers. Without a stack name the first stack is meant. In
    `[keep] [stack] kv:layers.key_heads[=gate]` a key head stands for all query heads that read it.

    Args:
        text: The mask as written.
        shapes: (layers, heads) of each stack of the model, in order.
        groups: Query heads for each key head; None where every head has a key head of its own.

    Raises:
        UsageError: the text does not parse (the message names the column), or names a head that is not there.
    """
    gates = {stack: np.ones(shape, dtype=np.float32) for stack, shape in shapes.items()}
    column, seen = 1, False
    for raw in text.split(";"):
        entry = raw.strip()
        if entry:
            seen = True
            _apply(entry, gates, groups or {}, f"head mask, column {column + len(raw) - len(raw.lstrip())}")
        column += len(raw) + 1
    if not seen:
        raise UsageError(f"head mask {text!r} names no head", "write layer:heads, such as 0:3,5; 2:*")
    return HeadMask(gates)


def _apply(entry: str, gates: dict[str, FloatArray], groups: Groups, where: str) -> None:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise UsageError(
            f"{where}: cannot read {entry!r}",
            "write layer:heads, such as 0:3,5; 2:*; 4:1=0.5; keep 3:1,2, or kv:layer.key heads, such as kv:3.0,1",
        )
    stack = match["stack"] or next(iter(gates))
    if stack not in gates:
        raise UsageError(f"{where}: this model has no {stack} attention", f"it has {', '.join(gates)}")
    table = gates[stack]
    try:
        named = list(_named(match, table.shape, groups.get(stack, ())))
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.hint) from error
    gate = _gate(match["gate"], where)
    if match["keep"] and match["gate"] is not None:
        raise UsageError(f"{where}: 'keep' takes no gate, got {entry!r}", "write keep 3:1,2")
    for layer, heads in named:
        if match["keep"]:
            table[layer, np.setdiff1d(np.arange(table.shape[1]), heads)] = 0
        else:
            table[layer, heads] = gate


def _named(
    match: re.Match[str], shape: tuple[int, ...], groups: Sequence[int]
) -> Iterator[tuple[int, list[int] | tuple[int, ...]]]:
    """The layers an entry names, each with its query heads."""
    for layer in parse_selection(match["layers"] or match["key_layers"], shape[0], "layer"):
        if match["heads"]:
            yield layer, parse_selection(match["heads"], shape[1], "head")
            continue
        group = groups[layer] if layer < len(groups) else 1
        key_heads = parse_selection(match["key_heads"], shape[1] // group, "key head")
        yield layer, [key_head * group + member for key_head in key_heads for member in range(group)]


def _gate(text: str | None, where: str) -> float:
    if text is None:
        return 0.0
    try:
        gate = float(text)
    except ValueError:
        gate = float("nan")
    if not 0 <= gate <= 1:
        raise UsageError(
            f"{where}: the gate {text.strip()!r} is no number from 0 to 1", "1 keeps a head, 0 silences it"
        )
    return gate


def head_mask_of(given: FloatArray | Mapping[str, FloatArray], shapes: Mapping[str, tuple[int, int]]) -> HeadMask:
    """A head mask from arrays [layer, head], 1 keeps and 0 silences.

    Args:
        given: The array of the first stack, or an array for each stack named; stacks left out keep all their heads.
        shapes: (layers, heads) of each stack of the model, in order.

    Raises:
        UsageError: a stack the model has not, an array of another shape than the stack, or values outside [0, 1].
    """
    of_stacks = given if isinstance(given, Mapping) else {next(iter(shapes)): given}
    gates = {stack: np.ones(shape, dtype=np.float32) for stack, shape in shapes.items()}
    for stack, array in of_stacks.items():
        if stack not in shapes:
            raise UsageError(
                f"the head mask names {stack[:60]!r}, which the model has not", f"it has {', '.join(shapes)}"
            )
        if array.shape != shapes[stack]:
            owner = f"the {stack}" if len(shapes) > 1 else "the model"
            raise UsageError(
                f"the head mask is {' x '.join(map(str, array.shape)) or 'a single number'}, "
                f"{owner} has {shapes[stack][0]} layers x {shapes[stack][1]} heads",
                "give one row per layer and one number per head",
            )
        gates[stack] = np.asarray(array, dtype=np.float32)
    try:
        return HeadMask(gates)
    except ValueError as error:
        raise UsageError(
            f"the head mask has values outside [0, 1]: {error}", "1 keeps a head, 0 silences it"
        ) from error
