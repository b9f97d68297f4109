"""What a backend is handed: against the kernels themselves, run by the model's own code under the backend's name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.overrides import TorchFunctionMode
from transformers import masking_utils, modeling_flash_attention_utils
from transformers.integrations import flex_attention as flex_integration
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from maskviz.core.arrays import BoolArray
from maskviz.core.run.handover import HandedGroup, HandOver, handed_groups
from maskviz.core.run.trace import Trace
from maskviz.core.words import Backend, CacheKind, Stack
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded, build_model, load_config
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Encoded, Request, encode
from maskviz.tracing.backends.handing import hand_over
from maskviz.tracing.calling import Calling, called
from maskviz.tracing.listen.taps import SDPA_PARAMETERS
from maskviz.tracing.run import run
from maskviz.tracing.seam.implementations import running
from tests.architectures import ENCODER_DECODERS, tiny
from tests.image_text import tiny_image_text
from tests.tracing.conftest import loaded_tiny, padded_request, random_rows

NEW = hasattr(masking_utils, "remap_positions_for_packed_sequence")
ON_INTERFACE = ["llama", "mistral", "gemma3", "llama4", "bert", *(["modernbert", "t5"] if NEW else [])]


class Asked:
    """A tiny model traced, and what a backend is handed for it."""

    def __init__(self, loaded: Loaded, request: Request, backend: Backend, calling: Calling | None = None) -> None:
        self.calling = calling or Calling()
        self.loaded, self.model, self.backend = loaded, loaded.model, backend
        self.encoded: Encoded = encode(loaded, request)
        self.trace: Trace = run(self.model, self.encoded.inputs, self.encoded.batch, loaded.card, self.calling)
        self.over: HandOver = hand_over(self.model, self.encoded.inputs, self.trace, backend, self.calling)
        self.groups: tuple[HandedGroup, ...] = handed_groups(self.trace, self.over)

    def really(self) -> Any:
        """What the model returns under the backend's name, with whatever kernel is in place."""
        with torch.no_grad(), running(self.model, self.backend.value), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return called(self.model, self.encoded.inputs, self.calling)[-1]


def plain_request(model_type: str) -> Request:
    targets = random_rows((6,), seed=1) if model_type in ENCODER_DECODERS else ()
    return Request(ids=random_rows((9,)), target_ids=targets)


REQUESTS: dict[str, Callable[[str], Request]] = {"padded": padded_request, "plain": plain_request}


def assert_same_on_real_rows(asked: Asked, heard: list[BoolArray]) -> None:
    """Every call's mask is what was heard of the kernel, [batch, head, query, key], where the query is no padding."""
    assert len(heard) == len(asked.over.calls)
    for one, seen in zip(asked.over.calls, heard, strict=True):
        assert one.mask is not None, one.words
        real = asked.trace.real_queries(one.call)
        seen = seen.reshape(seen.shape[0], -1, real.shape[1], seen.shape[3])  # heads in place of a single query
        visible = np.broadcast_to(one.mask.visible, seen.shape).transpose(0, 2, 1, 3)[real]
        assert np.array_equal(visible, seen.transpose(0, 2, 1, 3)[real]), one.words


class OneHotValues(TorchFunctionMode):
    """Hears where torch's own kernel gives weight: it is run again with one-hot values."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[BoolArray] = []

    def __torch_function__(self, function: Any, types: Any, positional: Any = (), arguments: Any = None) -> Any:
        result = function(*positional, **(arguments or {}))
        if function is torch.nn.functional.scaled_dot_product_attention:
            given = dict(zip(SDPA_PARAMETERS, positional, strict=False)) | (arguments or {})
            key = given["key"]
            given["value"] = torch.eye(key.shape[2]).expand(*key.shape[:2], -1, -1)
            self.heard.append((function(**given) > 0).numpy())
        return result


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("model_type", ON_INTERFACE)
def test_sdpa_attends_where_it_is_said_to(model_type: str, request_name: str) -> None:
    asked = Asked(loaded_tiny(model_type), REQUESTS[request_name](model_type), Backend.SDPA)
    with OneHotValues() as kernel:
        asked.really()
    assert_same_on_real_rows(asked, kernel.heard)
    assert all(group.expressed for group in asked.groups)


@pytest.mark.parametrize("model_type", [*ON_INTERFACE, "gpt_oss", "gemma2", "gpt2"])
def test_eager_attends_where_it_is_said_to(model_type: str) -> None:
    asked = Asked(loaded_tiny(model_type), padded_request(model_type), Backend.EAGER)
    with torch.no_grad():
        own: Any = tiny(model_type, attention="eager")(**asked.encoded.inputs, output_attentions=True)
    names = ("encoder_attentions", "decoder_attentions", "cross_attentions")
    by_stack = {name.partition("_")[0]: own[name] for name in names if own.get(name)}
    of = [by_stack.get(call.stack.value, own.get("attentions"))[call.layer] for call in asked.trace.calls]
    assert_same_on_real_rows(asked, [(one > 0).numpy() for one in of])
    assert all(group.expressed for group in asked.groups)


@contextmanager
def real_flex_attention(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BoolArray]]:
    """torch's flex_attention, not compiled, heard with one-hot values."""
    heard: list[BoolArray] = []

    def attention(query: Any, key: Any, value: Any, training: bool = False, **arguments: Any) -> Any:
        del training
        keys = key.shape[2]
        width = 1 << (keys - 1).bit_length()  # torch 2.6 takes widths that are powers of two alone
        one_hot = torch.eye(keys, width).expand(*key.shape[:2], -1, -1)
        heard.append((flex_attention(query, key, one_hot, **arguments)[..., :keys] > 0).numpy())
        return flex_attention(query, key, value, **arguments)

    def not_compiled(*positional: Any, **arguments: Any) -> Any:
        return create_block_mask(*positional, **{**arguments, "_compile": False})

    monkeypatch.setattr(flex_integration, "compile_friendly_flex_attention", attention)
    monkeypatch.setattr(masking_utils, "create_block_mask", not_compiled)
    yield heard


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("model_type", ON_INTERFACE)
def test_flex_attention_attends_where_it_is_said_to(
    model_type: str, request_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(loaded_tiny(model_type), REQUESTS[request_name](model_type), Backend.FLEX)
    if (model_type, request_name) == ("t5", "padded"):  # one position bias for a batch, of which each row is asked
        assert all("IndexError" in call.words and call.mask is None for call in asked.over.calls)
        with real_flex_attention(monkeypatch), pytest.raises(IndexError):
            asked.really()
        return
    with real_flex_attention(monkeypatch) as heard:
        asked.really()
    assert_same_on_real_rows(asked, heard)
    assert all(group.expressed for group in asked.groups)


@pytest.mark.parametrize("cache", CacheKind)
@pytest.mark.parametrize("parts", [(6, 3), (8, 1)])
@pytest.mark.parametrize("backend", [Backend.SDPA, Backend.FLEX])
@pytest.mark.parametrize("model_type", ["llama", "gemma3"])
def test_decode_steps_attend_where_it_is_said(
    model_type: str, backend: Backend, parts: tuple[int, ...], cache: CacheKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(loaded_tiny(model_type), Request(ids=random_rows((9,))), backend, Calling(parts, 1, cache))
    with real_flex_attention(monkeypatch) as heard, OneHotValues() as kernel:
        asked.really()
    heard = (heard or kernel.heard)[3:]  # three layers: what is before is the past
    keys = [one.shape[3] for one in heard]
    laid_out = [np.pad(one, ((0, 0), (0, 0), (0, 0), (9 - key, 0))) for one, key in zip(heard, keys, strict=True)]
    assert_same_on_real_rows(asked, laid_out)


def test_one_query_after_a_cache_is_handed_no_mask_and_no_flag() -> None:
    """Under the flag it would see the first key alone: torch aligns the triangle at the top left."""
    asked = Asked(loaded_tiny("llama"), Request(ids=random_rows((9,))), Backend.SDPA, Calling((8, 1), 1))
    (group,) = asked.groups
    assert group.words == "no mask, is_causal=False"
    assert group.expressed
    assert group.mask is not None
    assert group.mask.visible.all()
    assert group.mask.query_offset == 8


@pytest.mark.skipif(not NEW, reason="transformers 5.0 counts the queries of a static cache in another way")
def test_flex_attention_with_a_static_cache_sees_the_future_of_a_part() -> None:
    """The offset of its mask is the cache's own counter, which has moved on when the mask is asked."""
    calling = Calling((6, 3), 1, CacheKind.STATIC)
    (group,) = Asked(loaded_tiny("llama"), Request(ids=random_rows((9,))), Backend.FLEX, calling).groups
    assert group.added[:, 2:].tolist() == [[0, 7], [0, 8], [1, 8]]
    assert group.why == ("future",)


def naive_flash(query: Any, key: Any, value: Any, scale: float, causal: bool, window: tuple[int, int]) -> Any:
    """Attention of [token, head, width] as flash_attn documents it, one cell at a time."""
    queries, keys, groups = len(query), len(key), query.shape[1] // key.shape[1]
    output = torch.zeros(*query.shape[:2], value.shape[-1])
    for head in range(query.shape[1]):
        for i in range(queries):
            place = i + keys - queries
            first = 0 if window[0] < 0 else max(0, place - window[0])
            last = keys - 1 if window[1] < 0 else min(keys - 1, place + window[1])
            last = min(last, place) if causal else last
            scores = key[first : last + 1, head // groups] @ query[i, head] * scale
            if len(scores):
                output[i, head] = scores.softmax(0) @ value[first : last + 1, head // groups]
    return output


def flash_attn_func(
    q: Any, k: Any, v: Any, dropout_p: Any = 0.0, softmax_scale: Any = None, causal: Any = False,
    window_size: Any = (-1, -1), softcap: Any = 0.0, deterministic: Any = False,
) -> Any:  # fmt: skip
    """The kernel for rows of one length."""
    return torch.stack([naive_flash(*row, softmax_scale, causal, window_size) for row in zip(q, k, v, strict=True)])


def flash_attn_varlen_func(
    q: Any, k: Any, v: Any, cu_seqlens_q: Any, cu_seqlens_k: Any, max_seqlen_q: Any, max_seqlen_k: Any,
    dropout_p: Any = 0.0, softmax_scale: Any = None, causal: Any = False, window_size: Any = (-1, -1),
    softcap: Any = 0.0, deterministic: Any = False,
) -> Any:  # fmt: skip
    """The kernel for texts that follow each other."""
    of_query, of_key = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    parts = []
    for text in range(len(of_query) - 1):
        one, other = slice(*of_query[text : text + 2]), slice(*of_key[text : text + 2])
        parts.append(naive_flash(q[one], k[other], v[other], softmax_scale, causal, window_size))
    return torch.cat(parts)


@contextmanager
def naive_flash_attention(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """transformers' own way to flash_attn, with naive loops at its end."""
    library = modeling_flash_attention_utils
    process = library._lazy_define_process_function(flash_attn_varlen_func)
    kernels: tuple[Any, ...] = (flash_attn_func, flash_attn_varlen_func)
    padding = (library._pad_input, library._unpad_input)
    if hasattr(library, "_process_with_kvcache_kwargs_fn"):
        loaded: Any = ((*kernels, None, *padding), (process, dict))
    else:
        loaded = ((*kernels, *padding), process)
    monkeypatch.setattr(library, "lazy_import_flash_attention", lambda *_, **__: loaded)
    yield


def masked_as_handed(asked: Asked) -> Any:
    """What the model returns under eager attention and a 4-D mask of the cells that flash is said to let through."""
    by_kind: dict[str, torch.Tensor] = {}
    for one in asked.over.calls:
        assert one.mask is not None
        module: Any = asked.model.get_submodule(one.call.module)
        mask = torch.zeros(one.mask.visible.shape).masked_fill(~torch.tensor(one.mask.visible), -1e30)
        by_kind["sliding_attention" if getattr(module, "is_sliding", False) else "full_attention"] = mask
    masks: Any = by_kind if asked.loaded.card.model_type == "gemma3_text" else next(iter(by_kind.values()))
    inputs = {**asked.encoded.inputs, "attention_mask": masks, "use_cache": False}
    if asked.loaded.card.model_type == "bert":
        inputs.pop("use_cache")
    with torch.no_grad(), running(asked.model, "eager"):
        return asked.model(**inputs).logits


@pytest.mark.parametrize("kind", ["padded", "plain", "packed"])
@pytest.mark.parametrize("model_type", ["llama", "mistral", "gemma3", "bert"])
def test_flash_attention_is_what_its_cells_say(model_type: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if (model_type, kind) == ("bert", "packed"):
        request = Request(ids=random_rows((1,)))  # one token: an encoder packs nothing
    else:
        request = Request(ids=random_rows((4, 6, 3)), packed=True) if kind == "packed" else REQUESTS[kind](model_type)
    asked = Asked(loaded_tiny(model_type), request, Backend.FLASH)
    with naive_flash_attention(monkeypatch):
        logits = asked.really().logits
    keep = asked.encoded.batch.keep
    np.testing.assert_allclose(logits.numpy()[keep], masked_as_handed(asked).numpy()[keep], atol=2e-4, rtol=0)
    assert kind == "packed" or all(group.expressed for group in asked.groups)


@pytest.mark.parametrize("parts", [(6, 3), (8, 1)])
@pytest.mark.parametrize("lengths", [(9,), (9, 5)])
def test_flash_attention_expresses_decode_steps(
    lengths: tuple[int, ...], parts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(ids=random_rows(lengths), padding_side="left")
    asked = Asked(loaded_tiny("mistral"), request, Backend.FLASH, Calling(parts, 1))
    assert all(group.expressed for group in asked.groups)
    with naive_flash_attention(monkeypatch):
        logits = asked.really().logits
    with torch.no_grad():
        own = called(asked.model, asked.encoded.inputs, asked.calling)[-1].logits
    keep = asked.encoded.batch.keep[:, parts[0] :]
    np.testing.assert_allclose(logits.numpy()[keep], own.numpy()[keep], atol=2e-4, rtol=0)


def test_a_window_of_four_tokens_reaches_three_back() -> None:
    """flash_attn does not count the query itself, transformers does."""
    for request in (plain_request("mistral"), padded_request("mistral")):
        (group,) = Asked(loaded_tiny("mistral"), request, Backend.FLASH).groups
        assert group.words.endswith("causal=True, window_size=(3, 3)")
        assert group.expressed
        assert group.mask is not None
        assert group.mask.visible[-1, 0, -1].sum() == 4


@pytest.mark.skipif(not NEW, reason="transformers 5.0 writes ModernBERT's attention by hand")
def test_a_window_to_both_sides_is_expressed() -> None:
    groups = Asked(loaded_tiny("modernbert"), plain_request("modernbert"), Backend.FLASH).groups
    assert [group.words for group in groups] == ["no mask, causal=False", "no mask, causal=False, window_size=(2, 2)"]
    assert all(group.expressed for group in groups)


def test_packed_texts_are_separated_by_flash_attention_alone() -> None:
    """With a cache transformers builds no mask of packed texts, and still tells flash_attn where each begins."""
    request = Request(ids=random_rows((4, 6, 3)), packed=True)
    crossing = 4 * 6 + 4 * 3 + 6 * 3
    for backend in Backend:
        (group,) = Asked(loaded_tiny("llama"), request, backend).groups
        assert group.expressed is (backend is not Backend.FLASH)
        assert len(group.lost) == (crossing if backend is Backend.FLASH else 0)
        assert not len(group.added)
    (group,) = Asked(loaded_tiny("llama"), Request(ids=request.ids, packed=True, no_cache=True), Backend.FLASH).groups
    assert group.expressed
    assert group.words == "no mask, cut into texts of 4, 6, 3 tokens, causal=True"


def test_padding_of_the_encoder_leaves_queries_of_the_decoder_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where queries and keys differ in number, the keys' padding mask, cut to the queries' number, is taken for theirs.

    What a query that is left out gets is zero.
    """
    asked = Asked(loaded_tiny("bart"), padded_request("bart"), Backend.FLASH)
    (cross,) = [group for group in asked.groups if group.calls[0].stack is Stack.CROSS]
    assert cross.words == "bool [3, 9], cut into texts of 2 of 5, 6 of 9, 4 of 7 tokens, causal=False"
    assert cross.why == ("queries left out",)
    got: list[torch.Tensor] = []
    output: Any = asked.model.get_submodule(f"{cross.calls[0].module}.out_proj")
    handle = output.register_forward_pre_hook(lambda _module, given: got.append(given[0]))
    with naive_flash_attention(monkeypatch):
        asked.really()
    handle.remove()
    assert cross.mask is not None
    assert np.array_equal((got[-1] == 0).all(dim=-1).numpy(), ~cross.mask.visible[:, 0].any(axis=-1))


def image_text(name: str, types: tuple[int, ...], backend: Backend) -> Asked:
    model = tiny_image_text(name)
    loaded = Loaded(model, None, card_of(model.config, name, type(model).__name__))
    return Asked(loaded, Request(ids=random_rows((8,)), token_types=(types,)), backend)


def test_an_images_span_is_dropped_by_flash_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    # transformers refuses it since 5.24
    monkeypatch.setattr(transformers.Gemma3ForConditionalGeneration, "_supports_flash_attn", True)
    asked = image_text("gemma3", (0, 0, 1, 1, 1, 0, 1, 1), Backend.FLASH)
    full = asked.groups[0]
    assert full.lost[:, 2:].tolist() == [[2, 3], [2, 4], [3, 4], [6, 7]]
    assert not len(full.added)
    assert full.cells == 64
    assert full.why == ("same span",)
    assert str(full.mask.rule if full.mask else "") == "causal"
    others = [
        image_text("gemma3", (0, 0, 1, 1, 1, 0, 1, 1), backend) for backend in Backend if backend != "flash_attention_2"
    ]
    assert all(group.expressed for other in others for group in other.groups)


@pytest.mark.parametrize("backend", [Backend.SDPA, Backend.FLASH])
def test_sinks_are_said_to_be_dropped(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_tiny("gpt_oss")
    monkeypatch.setattr(type(loaded.model), "_supports_sdpa", True)
    over = Asked(loaded, plain_request("gpt_oss"), backend).over
    if NEW or backend is Backend.SDPA:
        assert all(call.words.endswith("; its sinks are dropped") for call in over.calls)
    else:
        assert "does not support the specified flash attention implementation" in over.refusal


def test_a_flash_attention_that_transformers_replaces_is_named() -> None:
    over = Asked(loaded_tiny("gpt_oss"), plain_request("gpt_oss"), Backend.FLASH).over
    said = over.notes[0] if NEW else over.refusal
    assert "kernels-community/vllm-flash-attn3" in said


@pytest.mark.parametrize(
    ("model_type", "backend", "words"),
    [
        ("llama4", Backend.FLASH, "Llama4ForCausalLM does not support Flash Attention 2"),
        ("gpt_oss", Backend.SDPA, "GptOssForCausalLM does not support an attention implementation through torch.nn"),
        ("bloom", Backend.FLEX, "BloomForCausalLM does not support an attention implementation through torch's flex"),
    ],
)
def test_a_refusal_is_in_transformers_words(model_type: str, backend: Backend, words: str) -> None:
    over = Asked(loaded_tiny(model_type), plain_request(model_type), backend).over
    assert over.refusal.startswith(words)
    assert "http" not in over.refusal
    assert over.calls == ()


def test_attention_written_by_hand_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers.BloomForCausalLM, "_supports_flash_attn", True)
    asked = Asked(loaded_tiny("bloom"), plain_request("bloom"), Backend.FLASH)
    assert not asked.over.refusal
    assert all("written by hand" in call.words and call.mask is None for call in asked.over.calls)
    assert [group.expressed for group in asked.groups] == [None]


def test_a_users_mask_is_obeyed_by_sdpa_added_by_eager_and_breaks_flash() -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, plain_request("llama"))
    hole = torch.ones(1, 1, 9, 9, dtype=torch.bool).tril()
    hole[..., 1] = False
    inputs = {**encoded.inputs, "attention_mask": hole}
    trace = run(loaded.model, inputs, encoded.batch, loaded.card)
    sdpa, eager, flash = (
        hand_over(loaded.model, inputs, trace, one).calls[0] for one in (Backend.SDPA, Backend.EAGER, Backend.FLASH)
    )
    assert sdpa.mask is not None and np.array_equal(sdpa.mask.visible[0, 0], hole[0, 0].numpy())
    assert eager.mask is not None and eager.mask.visible.all()
    assert flash.mask is None and "fails" in flash.words


@pytest.mark.parametrize("backend", Backend)
def test_a_run_without_weights_is_handed_the_same(backend: Backend, tmp_path: Any) -> None:
    tiny("mistral").config.save_pretrained(tmp_path)
    source = resolve(str(tmp_path / "config.json"))
    weightless = Asked(build_model(source, load_config(source)), padded_request("mistral"), backend)
    weighted = Asked(loaded_tiny("mistral"), padded_request("mistral"), backend)
    assert [call.words for call in weightless.over.calls] == [call.words for call in weighted.over.calls]
    for one, other in zip(weightless.over.calls, weighted.over.calls, strict=True):
        assert one.mask is not None and other.mask is not None
        assert one.mask.same_as(other.mask)


def snapshot(model: Any) -> list[Any]:
    """Everything a run under another name touches."""
    llama: Any = __import__("transformers.models.llama.modeling_llama", fromlist=["eager_attention_forward"])
    return [
        model.config._attn_implementation,
        model.training,
        dict(ALL_ATTENTION_FUNCTIONS._local_mapping),
        dict(masking_utils.ALL_MASK_ATTENTION_FUNCTIONS._local_mapping),
        llama.eager_attention_forward,
        vars(masking_utils)["create_block_mask"],
        flex_integration.compile_friendly_flex_attention,
        vars(flex_integration)["create_block_mask"],
        modeling_flash_attention_utils.lazy_import_flash_attention,
        [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
    ]


@pytest.mark.parametrize("backend", Backend)
def test_everything_is_put_back(backend: Backend) -> None:
    loaded = loaded_tiny("llama")
    loaded.model.train()
    before = snapshot(loaded.model)
    Asked(loaded, padded_request("llama"), backend)
    assert snapshot(loaded.model) == before


@pytest.mark.parametrize("backend", Backend)
def test_everything_is_put_back_when_the_model_raises_and_its_words_are_kept(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, padded_request("llama"))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    before = snapshot(loaded.model)
    mlp: Any = loaded.model.get_submodule("model.layers.1.mlp")
    original = mlp.forward

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        if loaded.model.config._attn_implementation == backend and fails:
            raise ValueError("out of luck")
        return original(hidden)  # type: ignore[no-any-return]

    fails = True
    monkeypatch.setattr(mlp, "forward", forward)
    over = hand_over(loaded.model, encoded.inputs, trace, backend)
    fails_anyway = backend is Backend.EAGER  # the run that hears what is meant is one of eager attention, too
    what = "fails on this input" if fails_anyway else f"cannot be run under {backend}"
    assert over.refusal == f"LlamaForCausalLM {what}: ValueError: out of luck"
    assert snapshot(loaded.model) == before


def test_the_run_goes_on_under_the_mask_that_is_meant() -> None:
    """Each call is judged by itself: no mask depends on what an earlier call made of its own."""
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, Request(ids=random_rows((4, 6, 3)), packed=True))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    kept: list[torch.Tensor] = []
    handle = loaded.model.register_forward_hook(lambda _module, _given, output: kept.append(output.logits))
    try:
        hand_over(loaded.model, encoded.inputs, trace, Backend.FLASH)
    finally:
        handle.remove()
    meant, under_flash = kept
    torch.testing.assert_close(under_flash, meant, atol=1e-5, rtol=0)
