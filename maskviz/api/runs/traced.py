"""The rooms of a traced run introduced to each other: load, trace, analyse, store. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from maskviz.api.running import calling_of, check_has_heads, inputs_of, run_once, run_with
from maskviz.api.runs.head_masks import parse_or_read_head_mask
from maskviz.api.watcher import Watcher
from maskviz.conventions.files import read_mask
from maskviz.core.errors import CannotTraceError
from maskviz.core.results.results import Proof
from maskviz.core.words import CacheKind
from maskviz.load.inputs.forward_inputs import encoded_of
from maskviz.load.inputs.user_mask import given_mask
from maskviz.load.models.loading import Loading, bring_in
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded, Request, encode
from maskviz.load.texts.generate import continued
from maskviz.store.saved import Saved
from maskviz.tracing.budget import check_fits
from maskviz.tracing.calling import Calling
from maskviz.tracing.experiments.prove import prove
from maskviz.tracing.run import head_groups, head_shapes


def loaded_by(watcher: Watcher, loading: Loading, request: Request) -> Loaded:
    """Bring in a model, and say so where somebody watches; raises as `bring_in`."""
    watcher.say_releases()
    watcher.progress(f"loading {loading.source.name} ...")
    return bring_in(loading, request)


@dataclass(frozen=True, slots=True)
class Feeding:
    """How the text is fed to the model.

    Attributes:
        past: Tokens that go into the cache first, or None.
        step: Tokens to generate, or None.
        cache: The kind of cache of either.
        mask: File of the user's own mask, or None.
    """

    past: int | None = None
    step: int | None = None
    cache: CacheKind = CacheKind.DYNAMIC
    mask: Path | None = None


def encoded_for(watcher: Watcher, loaded: Loaded, request: Request, feeding: Feeding) -> tuple[Encoded, Calling]:
    """Encode a request, and say in which parts it is fed.

    Raises:
        CannotTraceError: more past than there are tokens.
    """
    own = None if feeding.mask is None else read_mask(feeding.mask)
    if feeding.step is not None:
        check_fits(loaded.card, encode(loaded, request).batch)
        watcher.progress(f"generating {feeding.step} tokens ...")
        encoded, start = continued(loaded, request, feeding.step)
        generated = (encoded.batch.decoder or encoded.batch).length - start
        return encoded, Calling((start, *[1] * generated), 0, feeding.cache)
    encoded = encoded_of(loaded, request)
    length = (encoded.batch.decoder or encoded.batch).length
    if feeding.past is not None and feeding.past >= length:
        hint = f"give 1 to {length - 1}" if length > 2 else "give a longer text"
        raise CannotTraceError(f"--past {feeding.past} leaves none of the {length} tokens", hint)
    if own is not None:
        encoded = replace(encoded, user_mask=given_mask(loaded, encoded.batch, own, feeding.past or 0))
    if feeding.past is None:
        return encoded, calling_of(encoded)
    return encoded, Calling((feeding.past, length - feeding.past), 1, feeding.cache)


def traced(
    watcher: Watcher, loaded: Loaded, encoded: Encoded, head_mask: str | None, calling: Calling, most: int | None = None
) -> Saved:
    """Trace a batch; with a head mask as it was typed, before and after. `most` is how many bytes its attention may
    take."""
    check_fits(loaded.card, encoded.batch, weightless=loaded.weightless, most=most)
    watcher.progress(f"running {loaded.card.architecture} on {encoded.batch.rows} x {encoded.batch.length} tokens ...")
    saved = run_once(loaded, encoded, calling)
    if head_mask is None:
        return saved
    check_has_heads(saved.trace)
    mask = parse_or_read_head_mask(head_mask, head_shapes(saved.trace), head_groups(saved.trace))
    return run_with(loaded, encoded, saved.trace, mask, calling)


def proven(watcher: Watcher, loaded: Loaded, encoded: Encoded, saved: Saved) -> Proof:
    """Check the masks of a run against what the model does without a head mask."""
    watcher.progress("proving the masks ...")
    return prove(loaded.model, inputs_of(encoded), saved.before or saved.trace)
