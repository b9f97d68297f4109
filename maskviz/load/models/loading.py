"""What model is asked for, and how it is brought in."""

from __future__ import annotations

from dataclasses import dataclass, replace

from maskviz.core.errors import NoWeightsError
from maskviz.core.parameters import parameter
from maskviz.core.words import Parallel
from maskviz.load.inputs.files import read_inputs
from maskviz.load.models.gguf_files import read_once
from maskviz.load.models.model import NO_FILE, Loaded, build_model, load_config, load_model, with_tokenizer
from maskviz.load.models.sentences import max_seq_length
from maskviz.load.models.source import Source
from maskviz.load.texts.images import load_processor, read_image
from maskviz.load.texts.request import Request
from maskviz.load.texts.stand_in import with_stand_ins


@dataclass(frozen=True, slots=True)
class Loading:
    """What model is asked for.

    Attributes:
        source: Where from.
        weights: Whether its own weights are wanted; where there are none, it is built without.
        seed: Of random weights instead, or None.
        tokenizer: Where another tokenizer is from, or None.
        device, dtype, parallel: As `load_model` takes them.
    """

    source: Source
    weights: bool = True
    seed: int | None = None
    tokenizer: Source | None = None
    device: str = "auto"
    dtype: str = "auto"
    parallel: Parallel | None = None


def bring_in(loading: Loading, request: Request) -> Loaded:
    """Load a model, or build it from its config; words of the request stand in where it has no tokenizer.

    Raises:
        MaskvizError: what is asked for is not there, or does not go together.
    """
    for path in request.images:
        read_image(path)  # what is wrong with it is said before a model is loaded
    if request.inputs is not None:
        read_inputs(request.inputs)
    source = loading.source
    if loading.parallel is not None and (loading.seed is not None or source.config_only or not loading.weights):
        why = NO_FILE if loading.seed is None and source.lacks_weights else ""
        raise NoWeightsError(
            f"{parameter('parallel')} spreads a model's own weights", why, f"leave out {parameter('parallel')}"
        )
    with read_once(source.gguf_file):
        loaded = _built_or_loaded(loading)
    if request.images:
        loaded = replace(loaded, processor=load_processor(source, loaded))
    if loading.tokenizer is not None:
        return with_tokenizer(loaded, loading.tokenizer)
    if loaded.tokenizer is not None:
        loaded = replace(loaded, longest_text=max_seq_length(source))
    return with_stand_ins(loaded, (*request.texts, *request.pairs, *request.targets))


def _built_or_loaded(loading: Loading) -> Loaded:
    source = loading.source
    config = load_config(source)
    if loading.seed is not None:
        return build_model(source, config, seed=loading.seed, device=loading.device)
    if not loading.weights:
        return build_model(source, config)
    if source.config_only:
        built = build_model(source, config)
        return replace(built, notes=(*built.notes, source.not_read)) if source.not_read else built
    return load_model(source, config, device=loading.device, dtype=loading.dtype, parallel=loading.parallel)
