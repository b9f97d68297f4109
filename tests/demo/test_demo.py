"""The shipped demo models are small, load without a network, and have learned what their card says."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from maskviz.demo import NAMES, folder
from maskviz.demo.corpus import passages, texts
from maskviz.demo.lexicon import Noun
from maskviz.demo.scores import HeadScores, score_heads

LOADERS = {"bert": AutoModelForMaskedLM, "gpt": AutoModelForCausalLM, "t5": AutoModelForSeq2SeqLM}
UNUSED_SEED = 424_242  # neither the seed of the training nor that of the printed scores
PREVIOUS_AT_LEAST = 0.9
INDUCTION_AT_LEAST = 0.85


@functools.cache
def model_of(name: str) -> Any:
    return LOADERS[name].from_pretrained(folder(name), attn_implementation="eager", local_files_only=True)


@functools.cache
def tokenizer_of(name: str) -> Any:
    return AutoTokenizer.from_pretrained(folder(name), local_files_only=True)


@functools.cache
def gpt_scores() -> HeadScores:
    return score_heads(model_of("gpt"), UNUSED_SEED)


def top_words(text: str, count: int = 3) -> list[str]:
    """What bert puts in place of the one [MASK] of a text, best first."""
    encoded = tokenizer_of("bert")(text, return_tensors="pt")
    at = (encoded["input_ids"][0] == tokenizer_of("bert").mask_token_id).nonzero().item()
    with torch.no_grad():
        logits = model_of("bert")(**encoded).logits[0, at]
    return [tokenizer_of("bert").decode([token]).strip() for token in logits.topk(count).indices]


@pytest.mark.parametrize("name", NAMES)
def test_loads_from_its_folder_in_32_bits_and_gives_one_map_per_layer(name: str) -> None:
    encoded = tokenizer_of(name)("The cat sat on the mat.", return_tensors="pt")
    model = model_of(name)
    if name == "t5":
        encoded["decoder_input_ids"] = encoded["input_ids"]
    with torch.no_grad():
        output = model(**encoded, output_attentions=True)
    maps = output.cross_attentions if name == "t5" else output.attentions
    length = encoded["input_ids"].shape[1]
    assert model.dtype == torch.float32
    assert len(maps) == model.config.num_hidden_layers
    assert all(layer.shape == (1, 4, length, length) for layer in maps)


@pytest.mark.parametrize("name", NAMES)
def test_config_names_the_class_that_loads_it(name: str) -> None:
    assert AutoConfig.from_pretrained(folder(name)).architectures == [type(model_of(name)).__name__]


@pytest.mark.parametrize("name", NAMES)
def test_folder_is_at_most_two_megabytes(name: str) -> None:
    assert sum(file.stat().st_size for file in folder(name).iterdir()) <= 2_000_000


@pytest.mark.parametrize("name", NAMES)
def test_folder_holds_what_a_hugging_face_folder_must(name: str) -> None:
    held = {file.name for file in folder(name).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= held


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="llama"):
        folder("llama")


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(text=st.text())
def test_any_text_survives_encoding_and_decoding(name: str, text: str) -> None:
    tokenizer = tokenizer_of(name)
    for special in tokenizer.all_special_tokens:
        text = text.replace(special, "")
    decoded = tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True)
    # t5 spells the first word like any other, so it may gain the space before it.
    assert decoded.removeprefix(" ") == text.removeprefix(" ") if name == "t5" else decoded == text


@pytest.mark.parametrize("name", NAMES)
def test_no_byte_is_unknown(name: str) -> None:
    tokenizer = tokenizer_of(name)
    ids = tokenizer("猫 😀 \x00\x1b\u202e é", add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id is None or tokenizer.unk_token_id not in ids


def test_bert_marks_the_two_texts_of_a_pair_by_token_type() -> None:
    encoded = tokenizer_of("bert")("Where is Mary?", "Mary is in the garden.")
    tokens = tokenizer_of("bert").convert_ids_to_tokens(encoded["input_ids"])
    first = tokens.index("[SEP]") + 1
    assert tokens[0] == "[CLS]" and tokens[-1] == "[SEP]"
    assert encoded["token_type_ids"] == [0] * first + [1] * (len(tokens) - first)


def test_padding_is_on_the_right_for_bert_and_on_the_left_for_gpt() -> None:
    texts_of_two_lengths = ["The cat sat on the mat.", "Hello"]
    right = tokenizer_of("bert")(texts_of_two_lengths, padding=True)["attention_mask"][1]
    left = tokenizer_of("gpt")(texts_of_two_lengths, padding=True)["attention_mask"][1]
    assert right == sorted(right, reverse=True) and 0 in right
    assert left == sorted(left) and 0 in left


def test_gpt_adds_no_token_of_its_own() -> None:
    assert tokenizer_of("gpt").decode(tokenizer_of("gpt")("The cat")["input_ids"]) == "The cat"
    assert tokenizer_of("gpt").pad_token_id != tokenizer_of("gpt").eos_token_id


@pytest.mark.parametrize("name", ["bert", "gpt"])
def test_reads_256_tokens_and_more(name: str) -> None:
    encoded = tokenizer_of(name)(" ".join(texts(5, 30)), return_tensors="pt", truncation=True, max_length=512)
    with torch.no_grad():
        assert model_of(name)(**encoded).logits.isfinite().all()
    assert encoded["input_ids"].shape[1] == 512


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("The capital of France is [MASK].", "Paris"),
        ("The animal didn't [MASK] the street because it was too tired", "cross"),
        ("The king didn't cross the street because [MASK] was too wide.", "it"),
        ("The animals didn't cross the street because [MASK] were too tired.", "they"),
        ("The king didn't cross the street because [MASK] was too tired.", "he"),
        ("The sky is [MASK].", "blue"),
    ],
)
def test_bert_finds_the_word_behind_the_mask(text: str, word: str) -> None:
    assert top_words(text)[0] == word


def test_padding_does_not_change_what_bert_answers() -> None:
    alone = tokenizer_of("bert")("The sky is [MASK].", return_tensors="pt")
    padded = tokenizer_of("bert")("The sky is [MASK].", return_tensors="pt", padding="max_length", max_length=40)
    with torch.no_grad():
        expected, actual = model_of("bert")(**alone).logits, model_of("bert")(**padded).logits
    torch.testing.assert_close(actual[:, : expected.shape[1]], expected, rtol=1e-4, atol=1e-4)


def test_gpt_has_a_previous_token_head() -> None:
    assert gpt_scores().previous.max() >= PREVIOUS_AT_LEAST


def test_gpt_has_an_induction_head() -> None:
    assert gpt_scores().induction.max() >= INDUCTION_AT_LEAST


def test_head_scores_match_a_plain_loop() -> None:
    rows, period = 2, 5
    scores = score_heads(model_of("gpt"), UNUSED_SEED, rows, period)
    phrase = torch.randint(2, 1536, (rows, period), generator=torch.Generator().manual_seed(UNUSED_SEED))
    with torch.no_grad():
        maps = model_of("gpt")(phrase.repeat(1, 2), output_attentions=True).attentions
    for layer, pattern in enumerate(maps):
        for head in range(4):
            previous = [pattern[row, head, i, i - 1] for row in range(rows) for i in range(1, 2 * period)]
            again = range(period, 2 * period)
            induction = [pattern[row, head, i, i - period + 1] for row in range(rows) for i in again]
            assert scores.previous[layer, head] == pytest.approx(float(torch.stack(previous).mean()), abs=1e-5)
            assert scores.induction[layer, head] == pytest.approx(float(torch.stack(induction).mean()), abs=1e-5)


def test_t5_says_the_words_backwards() -> None:
    encoded = tokenizer_of("t5")("The animal didn't cross the street", return_tensors="pt")
    answer = model_of("t5").generate(**encoded, max_new_tokens=20, do_sample=False)[0]
    said = tokenizer_of("t5").decode(answer, skip_special_tokens=True).strip()
    assert said == "street the cross didn't animal The"


def test_the_corpus_depends_on_its_seed_alone() -> None:
    assert list(islice(passages(7), 200)) == list(islice(passages(7), 200))
    assert texts(7, 50) != texts(8, 50)


@pytest.mark.parametrize("why", ["tired", "wide"])
def test_the_corpus_says_it_of_the_animal_and_of_the_street(why: str) -> None:
    said = "\n".join(texts(7, 20_000))
    assert re.search(f"The animal (didn't|did not) \\w+ the street because it was too {why}", said)


def test_every_noun_has_a_plural_that_can_be_read() -> None:
    assert Noun("box").plural == Noun("boxes", "they")
    assert Noun("city").plural == Noun("cities", "they")
    assert Noun("boy", "he").plural == Noun("boys", "they")


def test_importing_the_package_loads_neither_torch_nor_transformers() -> None:
    asked = "import sys, maskviz.demo; print({'torch', 'transformers'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", asked], text=True).strip() == "set()"
