"""What listening moves in 16 bits is held against what the type itself rounds, measured in float32 beside."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from transformers.models.llama import modeling_llama

import maskviz
from maskviz.tracing.seam.implementations import cache_argument, cache_returned
from maskviz.view.choosing import evidence_line
from tests.architectures import tiny

IDS = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12], [13, 14, 15, 16, 17, 0, 0, 0]])
KEEP = (IDS != 0).long()


def short(model_type: str, dtype: torch.dtype) -> Any:
    return deepcopy(tiny(model_type)).to(dtype=dtype)  # type: ignore[call-arg]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("model_type", ["llama", "bert", "gemma3", "bloom"])
def test_rounding_is_the_distance_from_the_same_weights_in_float32(model_type: str, dtype: torch.dtype) -> None:
    model = short(model_type, dtype)
    trace = maskviz.trace(model, {"input_ids": IDS, "attention_mask": KEEP})
    with torch.no_grad():
        own = model(input_ids=IDS, attention_mask=KEEP).logits.float()
        exact = deepcopy(model).float()(input_ids=IDS, attention_mask=KEEP).logits
    expected = float((own - exact).abs()[KEEP.bool()].max())
    assert trace.rounding == (pytest.approx(expected, rel=1e-3) if trace.drift else None)
    assert not any("listening moved" in note for note in trace.notes)
    if trace.drift:
        assert f"within what {str(dtype).removeprefix('torch.')} rounds" in evidence_line(trace)


def test_a_run_in_float32_is_not_run_again() -> None:
    trace = maskviz.trace(tiny("llama"), {"input_ids": IDS})
    assert trace.rounding is None
    assert "rounds" not in evidence_line(trace)


def test_a_drift_beyond_rounding_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eager attention that computes something else than sdpa does."""
    model = short("llama", torch.bfloat16)
    own = modeling_llama.eager_attention_forward

    def other(module: Any, query: Any, *rest: Any, **more: Any) -> Any:
        return own(module, query * 3, *rest, **more)

    monkeypatch.setattr(modeling_llama, "eager_attention_forward", other)
    trace = maskviz.trace(model, {"input_ids": IDS, "attention_mask": KEEP})
    assert trace.rounding is not None
    assert trace.drift is not None
    assert trace.drift > 2 * trace.rounding
    assert any("where bfloat16 rounds them by" in note for note in trace.notes)
    assert "within" not in evidence_line(trace)


def test_a_cache_in_16_bits_is_widened_for_the_comparison_and_left_as_it_is() -> None:
    model = short("llama", torch.bfloat16)
    with torch.no_grad():
        cache = cache_returned(model(input_ids=IDS[:1, :3], use_cache=True))
    trace = maskviz.trace(model, {"input_ids": IDS[:1, 3:], cache_argument(model): cache})
    assert trace.rounding is not None or not trace.drift
    assert cache.layers[0].keys.dtype is torch.bfloat16
    assert model.dtype is torch.bfloat16
