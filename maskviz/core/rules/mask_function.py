"""A function that a mask is composed of, for readers that know what rule it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from maskviz.core.rules.algebra import Rule


@dataclass(frozen=True, slots=True, eq=False)
class MaskFunction:
    """A function of (batch, head, query, key) as a model's code hands it to whoever makes the mask.

    Attributes:
        module: Name of the module it was made in.
        name: Its qualified name there, such as "strided.<locals>.inner_mask".
        cells: The variables it has closed over, by name; empty where it is no closure.
        function: The function itself.
        rule_of: Says which rule another function stands for, such as one among the cells.
    """

    module: str
    name: str
    cells: Mapping[str, Any]
    function: Callable[..., Any]
    rule_of: Callable[[Callable[..., Any]], Rule]
