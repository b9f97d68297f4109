"""The options of a run, by their names, as the values the other rooms take. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskviz.api.runs.traced import Feeding
from maskviz.cli.inputs import parse_ids
from maskviz.cli.options import Positions
from maskviz.core.errors import UsageError
from maskviz.core.words import CacheKind
from maskviz.load.models.loading import Loading
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Request
from maskviz.view.show import Choice

Options = Mapping[str, Any]


def request_of(options: Options, texts: tuple[str, ...]) -> Request:
    """What is to be encoded."""
    return Request(
        texts=texts,
        pairs=tuple(options["pair"] or ()),
        ids=parse_ids(options["ids"], "--ids"),
        targets=tuple(options["target"] or ()),
        target_ids=parse_ids(options["target_ids"], "--target-ids"),
        padding_side=options["padding_side"],
        pad_to=options["pad_to"],
        max_length=options["max_length"],
        cumulative_positions=options["position_ids"] is Positions.CUMSUM,
        images=tuple(options["image"] or ()),
        token_types=parse_ids(options["token_types"], "--token-types"),
        packed=options["packed"],
        no_cache=options["no_cache"],
        inputs=options["inputs"],
    )


def loading_of(options: Options) -> Loading:
    """What model is asked for, and which weights."""
    trust, offline = options["trust_remote_code"], options["offline"]
    if options["random_weights"] is not None and options["no_weights"]:
        raise UsageError("--no-weights and --random-weights are given together", "give one or the other")
    name = options["tokenizer"]
    return Loading(
        resolve(options["model"], revision=options["revision"], offline=offline, trust=trust),
        weights=not options["no_weights"],
        seed=options["random_weights"],
        tokenizer=None if name is None else resolve(name, offline=offline, trust=trust),
        device=options["device"],
        dtype=options["dtype"],
        parallel=options["parallel"],
    )


def feeding_of(options: Options, request: Request) -> Feeding:
    """How the text is fed to the model.

    Raises:
        UsageError: ways of feeding that do not go together.
    """
    feeding = Feeding(options["past"], options["step"], options["cache"], options["mask"])
    if feeding.past is not None and feeding.step is not None:
        raise UsageError("--past and --step are given together", "--step keeps the whole text in the cache already")
    in_parts = "--past" if feeding.past is not None else "--step" if feeding.step is not None else None
    others = {
        "--no-cache": request.no_cache,
        "--packed": request.packed,
        "--mask": feeding.mask if feeding.step is not None else None,
        "--image": request.images,
        "--inputs": request.inputs,
        "--prove": options["prove"],
    }
    if in_parts is None and feeding.cache is CacheKind.STATIC:
        raise UsageError("--cache static is of --past and --step", "add one of them")
    if in_parts is not None:
        for option, given in others.items():
            if given:
                raise UsageError(f"{in_parts} and {option} are given together", "give one or the other")
    return feeding


def choice_of(options: Options) -> Choice:
    """What of the run is drawn."""
    return Choice(*(options[name] for name in ("layer", "head", "stack", "text", "scale", "title")))
