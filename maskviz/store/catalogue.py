"""The catalogue of masks by model type that is part of the package: `catalogue.json`, beside this file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskviz.core.results.results import MaskSet
from maskviz.store.rules import rule_from_json, rule_to_json

FILE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The masks of the default configs of one transformers release.

    Attributes:
        release: The release, such as "5.23.0".
        entries: The masks of each type, in the order of their names.
        left_out: Why a type is not in it, by its name.
    """

    release: str
    entries: tuple[MaskSet, ...]
    left_out: dict[str, str]


def read_catalogue(file: Path = FILE) -> Catalogue:
    """Read a catalogue.

    Raises:
        ValueError, KeyError, TypeError: the file is something else.
    """
    data = json.loads(file.read_text(encoding="utf-8"))
    return Catalogue(data["transformers"], tuple(map(_entry, data["types"].items())), data["left_out"])


def catalogue_text(catalogue: Catalogue) -> str:
    """A catalogue as JSON text, one type a line."""
    types = ",\n".join(f"  {json.dumps(one.name)}: {json.dumps(_as_json(one))}" for one in catalogue.entries)
    left_out = ",\n".join(f"  {json.dumps(name)}: {json.dumps(why)}" for name, why in catalogue.left_out.items())
    return (
        f'{{"transformers": {json.dumps(catalogue.release)},\n"types": {{\n{types}\n}},\n'
        f'"left_out": {{\n{left_out}\n}}}}\n'
    )


def _as_json(one: MaskSet) -> dict[str, Any]:
    stacks = {stack: [rule_to_json(rule) for rule in rules] for stack, rules in one.stacks.items()}
    return {"stacks": stacks, "others": list(one.others), "until": one.until}


def _entry(item: tuple[str, dict[str, Any]]) -> MaskSet:
    name, data = item
    stacks = {stack: tuple(map(rule_from_json, rules)) for stack, rules in data["stacks"].items()}
    return MaskSet(name, stacks, tuple(data["others"]), data["until"])
