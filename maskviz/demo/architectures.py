"""The untrained demo models: small versions of three well-known architectures."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from maskviz.demo.tokenizing import POSITIONS

WIDTH = 128
HEADS = 4
# Deviation of the first weights. The usual 0.02 is meant for wide models; 1 / sqrt(WIDTH) is 0.09.
BERT_DEVIATION = 0.05
GPT_DEVIATION = 0.08


def build(name: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Build one untrained demo model that speaks the tokenizer's vocabulary."""
    return {"bert": _bert, "gpt": _gpt, "t5": _t5}[name](tokenizer)


def _bert(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            num_hidden_layers=4,
            num_attention_heads=HEADS,
            intermediate_size=2 * WIDTH,
            max_position_embeddings=POSITIONS,
            initializer_range=BERT_DEVIATION,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    start_as_waves(model.bert.embeddings.position_embeddings.weight, loudness=2 * BERT_DEVIATION)
    return model


def _gpt(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=WIDTH,
            n_layer=3,
            n_head=HEADS,
            n_inner=2 * WIDTH,
            n_positions=POSITIONS,
            initializer_range=GPT_DEVIATION,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            resid_pdrop=0.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    start_as_waves(model.transformer.wpe.weight, loudness=4 * GPT_DEVIATION)
    return model


def _t5(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=WIDTH,
            d_kv=WIDTH // HEADS,
            d_ff=2 * WIDTH,
            num_layers=2,
            num_decoder_layers=2,
            num_heads=HEADS,
            dropout_rate=0.0,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,  # type: ignore[call-arg]  # taken by the base
        )
    )


@torch.no_grad()
def start_as_waves(positions: Tensor, loudness: float) -> None:
    """Fill learned position embeddings, `[position, width]`, with sines and cosines to start from.

    They stay trainable. Starting so, "the one before" is the same rotation everywhere, and a head finds it
    in minutes on a CPU; starting from noise, it would have to be learned again at each position. `loudness`
    is the root mean square of the waves; they begin louder than the words.
    """
    count, width = positions.shape
    step = 2.0 * torch.exp(-torch.arange(width // 2) * (math.log(100.0) / (width // 2)))  # in radians
    angle = torch.arange(count)[:, None] * step
    amplitude = loudness * math.sqrt(2.0)
    positions[:, 0::2] = amplitude * angle.sin()
    positions[:, 1::2] = amplitude * angle.cos()
