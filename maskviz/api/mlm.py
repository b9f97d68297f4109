"""What the training of a masked language model hides: which tokens the collator selects. Imports transformers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

from maskviz.analyse.mlm import drawn
from maskviz.api.answer import Answer
from maskviz.api.runs.options import check_options, texts_of
from maskviz.api.watcher import NOBODY, Watcher
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Page
from maskviz.core.results.mlm import Draws, Fate, Masked, Recipe
from maskviz.load.models.source import Source, resolve
from maskviz.load.texts.collate import collated, mlm_notes, recipe_of, training_batch, training_tokenizer
from maskviz.view.mlm import mlm_page


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Selection(Answer):
    """The tokens that training would select, and what it would make of them.

    Attributes:
        masked: The batch as one seed leaves it.
        recipe: The shares it aims at.
        draws: Counts over many seeds, or None.
        notes: What there is to know.
        about: The tokenizer in a line.
    """

    masked: Masked
    recipe: Recipe
    draws: Draws | None
    notes: tuple[str, ...]
    about: str

    def __repr__(self) -> str:
        fates, batch = self.masked.fates, self.masked.batch
        selected = sum(int((fates == fate).sum()) for fate in Fate if fate.selected)
        return f"<Selection: {selected} of {int(batch.keep.sum())} tokens, seed {self.masked.seed}>"

    def page(self) -> Page:
        """The page that `maskviz mlm` prints."""
        return mlm_page(self.masked, self.recipe, self.draws, self.notes, self.about)

    def to_dict(self) -> dict[str, Any]:
        """The ids the model gets, those it is asked for (-100: nothing), and what became of each token."""
        masked = self.masked
        return {
            "kind": "mlm",
            "texts": list(masked.batch.texts),
            "seed": masked.seed,
            "ids": masked.batch.ids.tolist(),
            "inputs": masked.inputs.tolist(),
            "labels": masked.labels.tolist(),
            "fates": [[Fate(one).name.lower() for one in row] for row in masked.fates.tolist()],
        }


@dataclass(frozen=True, slots=True)
class SelectionWanted:
    """How tokens are selected.

    Attributes:
        probability: Share of tokens that is selected.
        whole_word: Whether all tokens of a word are selected together.
        max_length: Tokens a text is cut to, or None.
        seed: Of what is drawn.
        seeds: How many seeds are counted over, from `seed` on; None for none.
    """

    probability: float = 0.15
    whole_word: bool = False
    max_length: int | None = None
    seed: int = 0
    seeds: int | None = None


class MlmKeywords(TypedDict, total=False):
    """What else `mlm` may be told.

    Attributes:
        seed: Of what is drawn.
        seeds: Also count over so many seeds, from `seed` on.
        probability: Share of tokens that is selected.
        whole_word: Select all tokens of a word together; they all become the mask token.
        max_length: Tokens a text is cut to.
        revision, offline, trust_remote_code: Where the tokenizer is from.
    """

    seed: int
    seeds: int | None
    probability: float
    whole_word: bool
    max_length: int | None
    revision: str | None
    offline: bool
    trust_remote_code: bool


def mlm(model: str | os.PathLike[str], texts: str | Sequence[str], **options: Unpack[MlmKeywords]) -> Selection:
    """Show which tokens the 15% / 80-10-10 collator of BERT's training selects, and what it makes of them.

    Args:
        model: Where the tokenizer is from: a hub id, folder, or demo:bert. No model is run.
        texts: A text, or several.
        **options: See `MlmKeywords`.

    Raises:
        MaskvizError: the tokenizer has no mask token, or a text leaves nothing.
        TypeError: an option there is not.
    """
    check_options("mlm", options, MlmKeywords)
    own = texts_of(texts)
    if not own:
        raise UsageError("there is no text", "give one")
    source = resolve(
        os.fspath(model),
        revision=options.get("revision"),
        offline=options.get("offline", False),
        trust=options.get("trust_remote_code", False),
    )
    wanted = SelectionWanted(
        options.get("probability", 0.15),
        options.get("whole_word", False),
        options.get("max_length"),
        options.get("seed", 0),
        options.get("seeds"),
    )
    return selected(NOBODY, source, own, wanted)


def selected(watcher: Watcher, source: Source, texts: tuple[str, ...], wanted: SelectionWanted) -> Selection:
    """The tokens of texts that training would select; raises as `mlm`."""
    tokenizer = training_tokenizer(source)
    training = training_batch(tokenizer, texts, wanted.probability, wanted.whole_word, wanted.max_length)
    draws = None
    if wanted.seeds is not None:
        watcher.progress(f"drawing {wanted.seeds:,} times ...")
        draws = drawn(collated(training, one) for one in range(wanted.seed, wanted.seed + wanted.seeds))
    about = (
        f"{source.name} · {type(tokenizer).__name__} · {len(tokenizer):,} tokens · mask token {tokenizer.mask_token}"
    )
    masked = collated(training, wanted.seed)
    return Selection(masked, recipe_of(training), draws, tuple(mlm_notes(training, wanted.seed)), about)
