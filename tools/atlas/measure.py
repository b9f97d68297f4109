"""What the atlas says of one model type, measured: its default config run without weights, a tiny model of it run."""

from __future__ import annotations

import json
import re
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from maskviz.api.info import Card, info
from maskviz.api.models.layers import layers_of
from maskviz.core.errors import CannotTraceError, MaskvizError
from maskviz.core.run.trace import Trace
from maskviz.load.models.card import card_of
from maskviz.load.models.model import build_model
from maskviz.load.models.source import Source
from maskviz.view.masks.layers import disagreements, layer_tables
from tools.atlas.pictures import kinds_of, silent_of
from tools.atlas.trials import trials_of
from tools.comparing import described, prepared
from tools.families import family_of
from tools.model_types import NEEDS_MORE, model_types

Record = dict[str, Any]
FILE = "config.json"
# What running a default config may take: some compute for minutes what is then looked at for its shape.
SECONDS = 180
# Those that compute longer than that on any machine.
_SLOW = ("glm5_next", "glm5_next_text", "led")
# Where a library lies on the machine that measures.
_PLACES = re.compile(r"(?:/[\w.+-]+)+/site-packages/")


class OutOfTimeError(BaseException):
    """The time is over. Nothing on the way takes it for something that a model does."""


def measured(name: str) -> Record:
    """Everything the atlas says of a type; what raised is said in the place of what it would have said."""
    record: Record = {"name": name, "default": _or_reason(_in_time, name)}
    model_type = model_types()[name]
    record["config"] = model_type.config_class.__name__
    record["classes"] = [one.__name__ for one in model_type.model_classes]
    if name in NEEDS_MORE:
        record["tiny"] = {"problem": f"it runs only with {NEEDS_MORE[name]}"}
        return record
    record["tiny"] = _or_reason(_tiny, name)
    return record


def _or_reason(ask: Callable[[str], Record], name: str) -> Record:
    try:
        return ask(name)
    except MaskvizError as error:
        return {"problem": _PLACES.sub("", error.message)}
    except Exception as error:  # configs that are nothing without their parts raise as they like
        return {"problem": _PLACES.sub("", described(error))}


def _in_time(name: str) -> Record:
    """`_default` within its time: what a tiny model does is measured all the same."""

    def over(*_: object) -> None:
        raise OutOfTimeError

    if name in _SLOW:
        return {"problem": "it takes minutes"}
    signal.signal(signal.SIGALRM, over)
    signal.alarm(SECONDS)
    try:
        return _default(name)
    except OutOfTimeError:
        return {"problem": f"it takes more than {SECONDS} s"}
    finally:
        signal.alarm(0)


def _default(name: str) -> Record:
    """The layers of a type's default config, as `maskviz info` says them of a file that names the type alone."""
    file, card = _card(name)
    ran = card.ran
    assert ran is not None
    notes = [*card.notes, *disagreements(card.card, ran.trace, ran.unused, ran.beyond, ran.unused_because)]
    return {
        "class": card.card.architecture,
        "file": file,
        "layers": list(card.card.layers),
        "heads": list(card.card.heads),
        "keyHeads": list(card.card.key_heads),
        "width": card.card.hidden_size,
        "positions": card.card.positions,
        "tokens": (ran.trace.batch.decoder or ran.trace.batch).length,
        "kinds": kinds_of(ran.trace, _words(ran.trace)),
        "silent": silent_of(ran.trace),
        "beyond": dict(ran.beyond),
        "unused": dict(ran.unused),
        "notes": list(dict.fromkeys(notes)),
    }


def _card(name: str) -> tuple[Record | None, Card]:
    """What `maskviz info` says of the shortest config file of a type, and that file; None for a part of other models,
    which no file names.

    Raises:
        MaskvizError: no file that names the type, or one of its classes too, can be run.
    """
    if name not in CONFIG_MAPPING:
        config = model_types()[name].config_class()
        source = Source(name, name, offline=True)
        loaded = build_model(source, config, tokenizer=False)
        card = card_of(config, name, type(loaded.model).__name__)
        return None, Card(card, layers_of(loaded, source, config, {}))
    first: Exception | None = None
    files: list[Record] = [{"model_type": name}]
    files += [files[0] | {"architectures": [one.__name__]} for one in model_types()[name].model_classes]
    for file in files:
        try:
            return file, _info(file)
        except Exception as error:
            first = first or error
    raise first or AssertionError


def _info(file: Record) -> Card:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, FILE)
        path.write_text(json.dumps(file), encoding="utf-8")
        try:
            card = info(path, offline=True)
        except MaskvizError as error:
            raise CannotTraceError(error.message.replace(repr(str(path)), "the type")) from error
    if card.problem is not None:
        raise CannotTraceError(card.problem.message.replace(repr(str(path)), "the type"))
    return card


def _words(trace: Trace) -> dict[tuple[str, int], tuple[str, str]]:
    """What the tables of `maskviz info` call each layer, and its window, by stack and layer."""
    found = {}
    stacks = list(dict.fromkeys([*trace.stacks, *(layer.stack for layer in trace.silent)]))
    for table in layer_tables(trace):
        stack = table.title.removesuffix(" layers") if len(stacks) > 1 else stacks[0].value
        for row in table.rows:
            first, _, last = row[0].partition("-")
            for layer in range(int(first), int(last or first) + 1):
                found[stack, layer] = (row[1], row[3])
    return found


def _tiny(name: str) -> Record:
    """A tiny model of the type with random weights: its masks, and what padding, packing and flash attention do."""
    tiny, model, *_ = prepared(model_types()[name])
    return {
        "class": type(model).__name__,
        "family": str(family_of(model.config, type(model))),
        **trials_of(tiny.build(), name),
    }
