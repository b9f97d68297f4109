"""Byte-level BPE tokenizers for the demo models: any text has an encoding, and no token is unknown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 1536
POSITIONS = 512


@dataclass(frozen=True, slots=True)
class Marks:
    """What differs between the tokenizers of the three architectures.

    Attributes:
        special: Special tokens by role (`pad_token`, `cls_token`, ...); their ids follow this order from 0.
        single: Post-processor template for one text, in the notation of the tokenizers library.
        pair: The same for two texts.
        padding_side: `right` or `left`.
        prefix_space: Whether a first word is spelled like any other word, with a space before it.
        inputs: Names of the arrays the model takes.
    """

    special: dict[str, str]
    single: str
    pair: str
    padding_side: str
    prefix_space: bool
    inputs: tuple[str, ...]


STYLES = {
    "bert": Marks(
        special={
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        },
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        padding_side="right",
        prefix_space=False,
        inputs=("input_ids", "token_type_ids", "attention_mask"),
    ),
    "gpt": Marks(
        special={"pad_token": "<|pad|>", "eos_token": "<|endoftext|>"},
        single="$A:0",
        pair="$A:0 $B:0",
        padding_side="left",
        prefix_space=False,
        inputs=("input_ids", "attention_mask"),
    ),
    "t5": Marks(
        special={"pad_token": "<pad>", "eos_token": "</s>"},
        single="$A:0 </s>:0",
        pair="$A:0 </s>:0 $B:0 </s>:0",
        padding_side="right",
        prefix_space=True,
        inputs=("input_ids", "attention_mask"),
    ),
}


def learn_tokenizer(name: str, corpus: Sequence[str]) -> PreTrainedTokenizerFast:
    """Learn the tokenizer of one demo model from a corpus of texts."""
    style = STYLES[name]
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=style.prefix_space)
    learned.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[_special(token) for token in style.special.values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learned.train_from_iterator([*corpus, *_each_word_often(corpus)], trainer)
    named = [(token, learned.token_to_id(token)) for token in style.special.values()]
    learned.post_processor = processors.TemplateProcessing(single=style.single, pair=style.pair, special_tokens=named)
    roles = {role: _special(token) for role, token in style.special.items()}
    if name == "gpt":
        roles["bos_token"] = roles["eos_token"]  # as in GPT-2: one token parts two documents
    return PreTrainedTokenizerFast(
        tokenizer_object=learned,
        padding_side=style.padding_side,
        model_max_length=POSITIONS,
        model_input_names=list(style.inputs),
        clean_up_tokenization_spaces=False,
        **roles,
    )


def _special(token: str) -> AddedToken:
    """A special token; `[MASK]` takes the space before it along, as the word it hides would have done."""
    return AddedToken(token, normalized=False, special=True, lstrip=token == "[MASK]")


def _each_word_often(corpus: Sequence[str]) -> list[str]:
    """Every word of the corpus, often enough to get a token of its own, whether it is common or not."""
    words = sorted({word for text in corpus for word in re.findall("[A-Za-z]+", text)})
    return [f"the {word}" for word in words for _ in range(len(corpus) // 100)]
