"""Where the heads lie in the weights of each architecture, as tables of names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maskviz.core.results.export import Kept


@dataclass(frozen=True, slots=True)
class Projections:
    """Where the heads of an attention module lie. Names are relative to the module; `../` goes to its parent.

    Attributes:
        rows: Projections whose outputs are heads side by side, and what they hold one after another: "q" for a part by
            query heads, "k" for one by key heads. A fused projection that holds query, key and value of one head next
            to each other is a "q" with wider heads.
        columns: The projection whose inputs are heads side by side.
        tables: Other parameters with one entry per query head: name and axis.
        config: Names in the config of the number of heads, of key heads and of the size of a head, where they are
            independent of the width of the model; empty where the class works the size out of the number.
        head_size: Attribute of the module that holds the size of a head.
        counts, widths: Attributes that hold the number of heads, and heads x head size.
        aligned: Whether all layers of a stack share one table by head, so that they must keep the same heads.
    """

    rows: tuple[tuple[str, str], ...]
    columns: str
    tables: tuple[tuple[str, int], ...] = ()
    config: tuple[str, ...] = ()
    head_size: str = "head_dim"
    counts: tuple[str, ...] = ("num_heads",)
    widths: tuple[str, ...] = ("embed_dim",)
    aligned: bool = False


_SEPARATE = (("q_proj", "q"), ("k_proj", "k"), ("v_proj", "k"))
_HEAD_DIM = ("num_attention_heads", "num_key_value_heads", "head_dim")

_LLAMA = Projections(_SEPARATE, "o_proj", config=_HEAD_DIM)
_LLAMA_SINKS = Projections(_SEPARATE, "o_proj", tables=(("sinks", 0),), config=_HEAD_DIM)
_PHI = Projections(_SEPARATE, "dense", config=_HEAD_DIM)
_PHI3 = Projections((("qkv_proj", "qkk"),), "o_proj", config=_HEAD_DIM)
_T5 = Projections(
    (("q", "q"), ("k", "q"), ("v", "q")),
    "o",
    tables=(("relative_attention_bias.weight", 1),),
    config=("num_heads", "num_heads", "d_kv"),
    aligned=True,
)
_UMT5 = Projections(_T5.rows, "o", tables=_T5.tables, config=_T5.config)
_BERT = Projections(
    (("query", "q"), ("key", "q"), ("value", "q")),
    "../output.dense",
    head_size="attention_head_size",
    counts=("num_attention_heads",),
    widths=("all_head_size",),
)
_DISTILBERT = Projections(
    (("q_lin", "q"), ("k_lin", "q"), ("v_lin", "q")),
    "out_lin",
    head_size="attention_head_size",
    counts=("n_heads",),
    widths=("dim",),
)
_GPT2 = Projections((("c_attn", "qqq"),), "c_proj", widths=("embed_dim", "split_size"))
_BART = Projections((("q_proj", "q"), ("k_proj", "q"), ("v_proj", "q")), "out_proj")
_GPT_J = Projections(_BART.rows, "out_proj", counts=("num_attention_heads",))
_GPT_NEOX = Projections((("query_key_value", "q"),), "dense", head_size="head_size", counts=(), widths=())
_MODERNBERT = Projections((("Wqkv", "qqq"),), "Wo", counts=(), widths=())

_TYPES: tuple[tuple[Projections, str], ...] = (
    (
        _LLAMA,
        "apertus arcee cohere cohere2 cwm dots1 ernie4_5 ernie4_5_moe eurobert exaone4 gemma gemma2 gemma3_text glm "
        "glm4 glm4_moe granite granitemoe granitemoeshared hunyuan_v1_dense hunyuan_v1_moe hyperclovax internlm3 jais2 "
        "llama llama4_text ministral ministral3 mistral mixtral nemotron nomic_bert olmo phimoe qwen2 qwen2_moe qwen3 "
        "qwen3_moe seed_oss smollm3 solar_open starcoder2 vaultgemma",
    ),
    (_LLAMA_SINKS, "gpt_oss"),
    (_PHI, "phi"),
    (_PHI3, "phi3"),
    (_T5, "mt5 switch_transformers t5"),
    (_UMT5, "umt5"),
    (
        _BERT,
        "bert bert-generation camembert data2vec-text electra ernie esm layoutlm megatron-bert mobilebert rembert "
        "roberta roberta-prelayernorm roc_bert roformer xlm-roberta xlm-roberta-xl xmod",
    ),
    (_DISTILBERT, "distilbert"),
    (_MODERNBERT, "modernbert"),
    (_GPT2, "gpt2"),
    (_GPT_J, "gptj"),
    (_GPT_NEOX, "gpt_neox"),
    (
        _BART,
        "bart biogpt blenderbot blenderbot-small gpt_neo m2m_100 marian mbart mvp nllb-moe opt pegasus plbart xglm",
    ),
)

LAYOUTS: dict[str, Projections] = {name: layout for layout, names in _TYPES for name in names.split()}
"""The layout of each model type that can be written without some of its heads; every one is proven by a test."""


def place(module: str, name: str) -> str:
    """Path of what a layout names, for an attention module at a path."""
    while name.startswith("../"):
        module, name = module.rpartition(".")[0], name.removeprefix("../")
    return f"{module}.{name}"


def projections(layout: Projections, kept: Sequence[Kept]) -> tuple[str, ...]:
    """Paths of the query, key, value and output projections of some attention modules."""
    names = (*(name for name, _ in layout.rows), layout.columns)
    return tuple(place(one.module, name) for one in kept for name in names)
