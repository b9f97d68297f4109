"""A rule is claimed where it says of every cell what the mask does, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, masking_utils

import maskviz
from maskviz.core.rules.algebra import Grid, Opaque
from maskviz.core.words import Stack
from maskviz.tracing.seam.masks import rule_of
from tests.architectures import tiny

IDS = {"input_ids": torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12]])}


def bidirectional_gemma(window: int) -> Any:
    """As EmbeddingGemma is configured: every layer looks both ways, some within a window."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 40, "head_dim": 8}
    config = Gemma3TextConfig(
        **sizes,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=window,
        layer_types=["sliding_attention", "full_attention"],
        use_bidirectional_attention=True,
        pad_token_id=0,
    )
    return Gemma3ForCausalLM(config).eval()


def naive(window: int | None, length: int = 8) -> list[list[bool]]:
    return [[window is None or abs(query - key) < window for key in range(length)] for query in range(length)]


@pytest.mark.parametrize("keep", [None, [[1] * 8, [1] * 5 + [0] * 3], [[0] * 3 + [1] * 5, [1] * 8]])
def test_a_model_made_bidirectional_is_an_encoder_without_an_opaque_rule(keep: list[list[int]] | None) -> None:
    model = bidirectional_gemma(5)  # the config halves it: 3 tokens to either side, the own included
    mask = {} if keep is None else {"attention_mask": torch.tensor(keep)}
    ids = IDS["input_ids"] if keep is None else IDS["input_ids"].expand(2, -1)
    trace = maskviz.trace(model, {"input_ids": ids, **mask})
    reach = model.config.sliding_window - 1
    expected = [f"window(±{reach})", "bidirectional"] if keep is None else [f"window(±{reach}) ∧ padding", "padding"]
    assert trace.stacks == (Stack.ENCODER,)
    assert [str(call.mask.rule) for call in trace.calls] == expected
    if keep is None:
        assert trace.calls[0].mask.visible[0, 0].tolist() == naive(reach + 1)
        assert trace.calls[1].mask.visible.all()


def test_a_token_alone_does_not_make_a_decoder_an_encoder() -> None:
    assert maskviz.trace(tiny("llama"), {"input_ids": IDS["input_ids"][:, :1]}).stacks == (Stack.DECODER,)


def test_an_unreadable_rule_that_blocks_nothing_here_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is what explains every cell."""
    with_own(monkeypatch, lambda inner: masking_utils.and_masks(inner, lambda b, h, q, k: k >= 0))
    trace = maskviz.trace(tiny("llama", attention="eager"), IDS)
    assert {str(call.mask.rule) for call in trace.calls} == {"causal"}


def test_an_unreadable_rule_that_blocks_something_stays_opaque(monkeypatch: pytest.MonkeyPatch) -> None:
    with_own(monkeypatch, lambda inner: masking_utils.and_masks(inner, lambda b, h, q, k: (q + k) % 3 < 2))
    trace = maskviz.trace(tiny("llama", attention="eager"), IDS)
    assert all(str(call.mask.rule).startswith("causal ∧ opaque(") for call in trace.calls)


def with_own(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """Let transformers compose its causal masks of another function."""
    monkeypatch.setattr(masking_utils, "causal_mask_function", change(masking_utils.causal_mask_function))


def sliding_window_overlay(sliding_window: int) -> Callable[..., Any]:
    """Another inequality under the name of transformers' own."""

    def inner_mask(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return key > query - sliding_window - 1

    return inner_mask


def test_somebody_elses_function_of_the_same_name_is_not_taken_for_transformers_own() -> None:
    assert sliding_window_overlay(3).__qualname__ == masking_utils.sliding_window_overlay(3).__qualname__
    assert isinstance(rule_of(sliding_window_overlay(3)), Opaque)


def _with_other_cells(*, callable_: bool) -> Any:
    """transformers' name over a closure that holds something else."""
    size = (3, 4)

    def inner_mask(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return key > query - size[0] if callable_ else size

    inner_mask.__qualname__ = "sliding_window_overlay.<locals>.inner_mask"
    inner_mask.__module__ = "transformers.masking_utils"
    return inner_mask


def _with_cells_of_another_type() -> Any:
    sliding_window = (3, 4)

    def inner_mask(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return key > query - sliding_window[0]

    inner_mask.__qualname__ = "sliding_window_overlay.<locals>.inner_mask"
    inner_mask.__module__ = "transformers.masking_utils"
    return inner_mask


@pytest.mark.parametrize("made", [lambda: _with_other_cells(callable_=True), _with_cells_of_another_type])
def test_a_closure_over_other_things_is_opaque(made: Callable[[], Any]) -> None:
    assert rule_of(made()) == Opaque("masking_utils.sliding_window_overlay.inner_mask")


def test_a_function_whose_cells_are_not_its_names_is_called_what_its_cells_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a release, or somebody's patch, changes an inequality and keeps the name."""

    with_own(monkeypatch, lambda causal: masking_utils.and_masks(causal, renamed(3, lambda query: 1)))
    trace = maskviz.trace(tiny("llama", attention="eager"), IDS)
    # Every cell is explained by the window it really is.
    assert {str(call.mask.rule) for call in trace.calls} == {"causal ∧ window(4)"}
    assert trace.misnamed() == {}


def test_where_no_rule_explains_the_cells_the_claim_is_kept_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with_own(monkeypatch, lambda causal: masking_utils.and_masks(causal, renamed(3, lambda query: query % 2)))
    trace = maskviz.trace(tiny("llama", attention="eager"), IDS)
    assert all(isinstance(call.mask.rule, Opaque) for call in trace.calls)
    assert trace.misnamed().keys() == {"causal ∧ window(3)"}
    assert any("called causal ∧ window(3) and lets other cells through" in note for note in trace.notes)


def test_a_registered_builder_that_blocks_more_than_it_is_asked_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    build = masking_utils.ALL_MASK_ATTENTION_FUNCTIONS["eager"]

    def mask(**arguments: Any) -> Any:
        tensor = build(**arguments)
        tensor[..., 5, 1] = torch.finfo(tensor.dtype).min
        return tensor

    monkeypatch.setitem(masking_utils.ALL_MASK_ATTENTION_FUNCTIONS._local_mapping, "eager", mask)
    trace = maskviz.trace(tiny("llama", attention="eager"), IDS)
    assert not trace.calls[0].mask.visible[0, 0, 5, 1]
    assert trace.misnamed().keys() == {"causal"}


def renamed(window: int, more: Callable[[Any], Any]) -> Callable[..., Any]:
    """A window that lets a query see `more` keys than the name and the number say."""
    sliding_window = window

    def inner_mask(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return key > query - sliding_window - more(query)

    inner_mask.__qualname__ = sliding_window_overlay(1).__qualname__
    inner_mask.__module__ = "transformers.masking_utils"
    return inner_mask


@pytest.mark.parametrize(("model", "expected"), [("gemma4", "window(4) ∧ ahead(2)"), ("gemma3", "window(±3)")])
def test_windows_of_single_models_are_read_by_their_own_file(model: str, expected: str) -> None:
    module = pytest.importorskip(f"transformers.models.{model}.modeling_{model}")
    name = {"gemma4": "sliding_window_mask_function", "gemma3": "_bidirectional_window_overlay"}[model]
    if not hasattr(module, name):
        pytest.skip("this release has it elsewhere")
    function = getattr(module, name)((4, 3) if model == "gemma4" else 4)
    rule = rule_of(function)
    assert str(rule) == expected
    for query in range(9):
        for key in range(9):
            seen = bool(function(0, 0, torch.tensor(query), torch.tensor(key)))
            at = Grid.of(1, 1, 1, query, key)
            assert bool(rule.visible(at).all()) is seen
