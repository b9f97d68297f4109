"""What is drawn is what the collator of transformers returns itself."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from transformers import AutoTokenizer, DataCollatorForLanguageModeling, PreTrainedTokenizerFast

from maskviz import demo
from maskviz.analyse.mlm import binomial_interval, drawn
from maskviz.core.errors import CannotTraceError, NotFoundError, UsageError
from maskviz.core.results.mlm import IGNORED, Fate
from maskviz.load.models.source import resolve
from maskviz.load.texts.collate import collated, mlm_notes, recipe_of, training_batch, training_tokenizer

TEXTS = ["The cat sat on the mat and the unbelievable dog ran into the house.", "A dog", "it was cold, they said"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(demo.folder("bert"))


def by_the_collator(tokenizer: Any, seed: int, **options: Any) -> tuple[Any, Any]:
    """Ids and labels as a training script gets them: the tokenizer's encoding handed to the collator."""
    whole = options.get("whole_word_mask", False)
    encoded = tokenizer(TEXTS, padding=True, return_special_tokens_mask=True, return_offsets_mapping=whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collator = DataCollatorForLanguageModeling(tokenizer, seed=seed, **options)
    rows = [{name: encoded[name][row] for name in encoded if name != "token_type_ids"} for row in range(len(TEXTS))]
    made = collator(rows)
    return made["input_ids"].tolist(), made["labels"].tolist()


@pytest.mark.parametrize("seed", [1, 2, 3, 77])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("probability", [0.15, 0.6])
def test_a_seed_gives_what_the_collator_gives_under_it(
    tokenizer: Any, seed: int, whole: bool, probability: float
) -> None:
    masked = collated(training_batch(tokenizer, TEXTS, probability, whole), seed)
    expected = by_the_collator(tokenizer, seed, whole_word_mask=whole, mlm_probability=probability)
    assert (masked.inputs.tolist(), masked.labels.tolist()) == expected


def test_words_that_run_together_are_counted_as_the_collator_finds_them(tokenizer: Any, minilm: Path) -> None:
    for own in (tokenizer, AutoTokenizer.from_pretrained(minilm)):
        training = training_batch(own, TEXTS, 0.15, True)
        offsets: Any = np.array([one["offset_mapping"] for one in training.examples])
        ids, _ = DataCollatorForLanguageModeling._calc_word_ids_and_prob_mask(offsets, cast("Any", training.special))
        found = [len(set(row.tolist()) - {-1}) for row in ids]
        notes = [note for note in mlm_notes(training, 1) if "the collator finds" in note]
        fewer = [(row, count) for row, count in enumerate(found) if count < len(TEXTS[row].split())]
        assert len(notes) == len(fewer)
        assert all(
            f"text {row + 1} has {len(TEXTS[row].split())} words and the collator finds {count}:" in note
            for note, (row, count) in zip(notes, fewer, strict=True)
        )
        assert bool(notes) is (own is tokenizer)


def test_seed_0_is_a_seed_as_any_other(tokenizer: Any) -> None:
    training = training_batch(tokenizer, TEXTS, 0.6, False)
    one, other = (collated(training, 0) for _ in range(2))
    assert np.array_equal(one.inputs, other.inputs)
    taken = "self.seed is not None" in inspect.getsource(DataCollatorForLanguageModeling.torch_call)
    assert any("seed 0" in note for note in mlm_notes(training, 0)) is not taken
    if taken:
        assert one.inputs.tolist() == by_the_collator(tokenizer, 0, mlm_probability=0.6)[0]


def test_special_tokens_and_padding_are_never_selected(tokenizer: Any) -> None:
    masked = collated(training_batch(tokenizer, TEXTS, 1.0, False), 0)
    assert set(masked.fates[~masked.batch.keep].tolist()) == {Fate.PADDING}
    assert masked.fates[0, 0] == masked.fates[0, masked.batch.length - 1] == Fate.SPECIAL
    text = masked.batch.keep & ~masked.special
    assert (masked.labels[text] == masked.batch.ids[text]).all()
    assert (masked.labels[~text] == IGNORED).all()


def test_every_fate_is_what_a_loop_over_the_tokens_says(tokenizer: Any) -> None:
    masked = collated(training_batch(tokenizer, TEXTS, 0.9, False), 5)
    for row in range(masked.batch.rows):
        for place in range(masked.batch.length):
            before, after = masked.batch.ids[row, place], masked.inputs[row, place]
            fate = Fate(int(masked.fates[row, place]))
            if masked.labels[row, place] == IGNORED:
                assert not fate.selected
                assert before == after
            elif after == tokenizer.mask_token_id:
                assert fate is Fate.MASKED
            else:
                assert fate is (Fate.KEPT if before == after else Fate.RANDOM)
    assert {Fate.MASKED, Fate.RANDOM, Fate.KEPT} <= set(masked.fates.ravel().tolist())


def test_the_tokens_of_a_word_are_selected_together(tokenizer: Any) -> None:
    training = training_batch(tokenizer, ["unbelievable cats"], 0.5, True)
    word = [index for index, offset in enumerate(training.examples[0]["offset_mapping"]) if 0 < offset[1] <= 12]
    assert len(word) > 1
    chosen = [collated(training, seed).fates[0, word] for seed in range(20)]
    assert {tuple(fates.tolist()) for fates in chosen} == {(Fate.MASKED,) * len(word), (Fate.LEFT,) * len(word)}
    recipe = recipe_of(training)
    assert (recipe.mask, recipe.random, recipe.kept) == (1.0, 0.0, 0.0)


def test_many_seeds_add_up_what_each_of_them_says(tokenizer: Any) -> None:
    training = training_batch(tokenizer, TEXTS, 0.15, False)
    draws = drawn(collated(training, seed) for seed in range(10, 30))
    singles = [collated(training, seed).labels != IGNORED for seed in range(10, 30)]
    assert np.array_equal(draws.selected, np.sum(singles, axis=0))
    assert (draws.seeds, draws.first) == (20, 10)


@pytest.mark.parametrize(("count", "of"), [(0, 5), (5, 5), (3, 20), (150, 1000), (1, 1)])
def test_the_ends_of_the_interval_are_the_shares_the_count_is_just_not_too_far_from(count: int, of: int) -> None:
    # Wilson's score by its definition: the shares p with |count/of - p| = z sqrt(p (1 - p) / of), found by trying.
    tried = np.linspace(0, 1, 1_000_001)
    inside = tried[np.abs(count / of - tried) <= 1.959964 * np.sqrt(tried * (1 - tried) / of) + 1e-12]
    low, high = binomial_interval(np.array(count), of)
    assert (float(low), float(high)) == pytest.approx((inside[0], inside[-1]), abs=2e-6)


def test_a_tokenizer_without_a_mask_token_is_refused() -> None:
    with pytest.raises(CannotTraceError, match="no mask token") as error:
        training_tokenizer(resolve("demo:gpt"))
    assert error.value.hint


def test_texts_of_different_lengths_need_a_padding_token() -> None:
    fresh = AutoTokenizer.from_pretrained(demo.folder("bert")).backend_tokenizer
    bare = PreTrainedTokenizerFast(tokenizer_object=fresh, mask_token="[MASK]")
    with pytest.raises(CannotTraceError, match="padding"):
        training_batch(bare, TEXTS, 0.15, False)
    assert training_batch(bare, TEXTS[:1], 0.15, False).batch.rows == 1


def test_a_length_without_room_and_a_folder_without_a_tokenizer_are_said(tokenizer: Any, tmp_path: Any) -> None:
    with pytest.raises(UsageError):
        training_batch(tokenizer, TEXTS, 0.15, False, max_length=1)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(NotFoundError, match="tokenizer"):
        training_tokenizer(resolve(str(tmp_path)))
