"""The data of the atlas: what was measured of each type, with what is said of several of them once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers

import maskviz
from maskviz.analyse.likeness import look_alikes
from maskviz.core.results.results import MaskSet
from maskviz.core.rules.reasons import Reason
from maskviz.render.palette import REASONS, VISIBLE
from maskviz.store.catalogue import read_catalogue
from tools.atlas.looks import families, look_of, traits_of
from tools.atlas.pictures import LETTERS
from tools.model_types import NEEDS_MORE

Record = dict[str, Any]
# Tokens at which masks are compared: as many as show every shape, and fewer than most windows.
ALIKE_AT = 64
_NUMBER = re.compile(r"\d[\d,]*")


def atlas_of(records: Sequence[Record]) -> Record:
    """What the page is made of, from what was measured of each type."""
    pictures: dict[str, int] = {}
    sets, numbers = _alike({record["name"] for record in records})
    types = [_entry(record, pictures) for record in records]
    for one in types:
        if one["name"] in numbers:
            one["alike"] = numbers[one["name"]]
    return {
        "releases": {
            "maskviz": maskviz.__version__,
            "transformers": transformers.__version__,
            "torch": torch.__version__.partition("+")[0],
        },
        "cells": {
            LETTERS[0]: {"word": "visible", "fill": VISIBLE.fill},
            **{LETTERS[int(one)]: {"word": one.word, "fill": REASONS[one].fill} for one in Reason},
        },
        "alikeAt": ALIKE_AT,
        "sets": sets,
        "pictures": list(pictures),
        "types": types,
    }


def data_text(data: Record) -> str:
    """The data as JSON, a line for each type, picture and set, so that a change is read as what it is."""
    parts = []
    for name, value in data.items():
        if isinstance(value, list | tuple):
            lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in value)
            parts.append(f'"{name}":[\n{lines}\n]')
        else:
            parts.append(f'"{name}":{json.dumps(value, separators=(",", ":"))}')
    return "{" + ",\n".join(parts) + "}\n"


def _entry(record: Record, pictures: dict[str, int]) -> Record:
    """One type as the page has it: its default config's masks, drawn as the tiny model's where these show more."""
    default, tiny = record.get("default", {}), record.get("tiny", {})
    small = tiny.get("alone", {}).get("kinds", [])
    entry: Record = {
        "name": record["name"],
        "class": tiny.get("class") or default.get("class") or next(iter(record.get("classes", [])), ""),
        "problem": record.get("problem", "") or ("" if default.get("kinds") is not None or small else _why(record)),
        "family": tiny.get("family", ""),
        "default": {
            name: default[name]
            for name in ("file", "layers", "heads", "keyHeads", "width", "positions", "tokens", "notes", "problem")
            if default.get(name) not in (None, [], "")
        },
        "silent": default.get("silent", tiny.get("alone", {}).get("silent", [])),
    }
    kinds = default.get("kinds")
    entry["kinds"] = [_kind(one, small, pictures) for one in (small if kinds is None else kinds)]
    entry["more"] = [] if kinds is None else [_kind(one, [], pictures) for one in small if not _like(one, kinds)]
    for trial in ("left", "right", "packed", "flash"):
        entry[trial] = tiny.get(trial) or {"problem": tiny.get("problem") or record.get("problem", "it was not run")}
    entry["traits"] = traits_of(entry, small)
    entry["look"] = look_of(entry)
    entry["family"] = entry["family"] or families(entry)
    for one in (*entry["kinds"], *entry["more"]):
        del one["reasons"]
    return entry


def _why(record: Record) -> str:
    """Why nothing is known of a type's masks."""
    if record["name"] in NEEDS_MORE:
        return f"it runs only with {NEEDS_MORE[record['name']]}"
    return str(record.get("tiny", {}).get("problem") or record.get("default", {}).get("problem", ""))


def _kind(kind: Record, drawn: Sequence[Record], pictures: dict[str, int]) -> Record:
    """A kind of layer with the number of its picture: that of the same rule with small numbers, where one was run."""
    small = next((one for one in drawn if _same(one, kind)), None)
    shown = small or kind
    made = {name: kind[name] for name in ("stack", "layers", "count", "rule", "is", "window", "reasons", "read")}
    made |= {"picture": pictures.setdefault(shown["picture"], len(pictures))}
    if shown["rule"] != kind["rule"]:
        made["drawn"] = shown["rule"]
    if shown["perHead"]:
        made["perHead"] = True
    return made


def _same(one: Record, other: Record) -> bool:
    """Whether two kinds of layers have one rule but for its numbers."""
    return bool(one["stack"] == other["stack"] and _shape(one["rule"]) == _shape(other["rule"]))


def _like(kind: Record, kinds: Sequence[Record]) -> bool:
    return any(_shape(kind["rule"]) == _shape(one["rule"]) for one in kinds)


def _shape(rule: str) -> str:
    return _NUMBER.sub("#", rule)


def _alike(known: set[str]) -> tuple[list[Record], Mapping[str, int]]:
    """Sets of types that have the same masks at every length, with the sets that look the same up to one; and the set
    of each type. As the catalogue of `maskviz info --length` has them."""
    entries = [one for one in read_catalogue().entries if one.name in known]
    groups: dict[Any, list[MaskSet]] = {}
    for one in entries:
        stacks = frozenset((stack, frozenset(map(str, rules))) for stack, rules in one.stacks.items())
        groups.setdefault((stacks, one.until), []).append(one)
    numbers = {one.name: number for number, group in enumerate(groups.values()) for one in group}
    sets = []
    for number, group in enumerate(groups.values()):
        until = {}
        if group[0].until is None or group[0].until >= ALIKE_AT:
            for alike in look_alikes(group[0], entries, ALIKE_AT):
                until[numbers[alike.masks.name]] = alike.until
        others = [[other, end] for other, end in until.items() if other != number]
        sets.append({"types": [one.name for one in group], "until": group[0].until, "others": others})
    return sets, numbers
