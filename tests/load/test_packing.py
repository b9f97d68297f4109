"""Rows joined into one, and what cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskviz.core.errors import CannotTraceError, MaskvizError, UsageError
from maskviz.load.models.model import Loaded, load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Request, encode
from maskviz.load.texts.packing import packed
from tests.tracing.conftest import loaded_tiny


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=5))
def test_a_packed_row_is_its_rows_one_after_the_other(rows: list[list[int]]) -> None:
    row = packed(rows)
    place = 0
    for text, one in enumerate(rows):
        for position, token in enumerate(one):
            assert row.ids[0, place] == token
            assert row.position_ids[0, place] == position
            assert row.documents[0, place] == text
            place += 1
    assert row.ids.shape == row.position_ids.shape == row.documents.shape == (1, place)


def test_no_attention_mask_is_passed_and_every_text_has_its_special_tokens() -> None:
    source = resolve("demo:gpt")
    gpt: Loaded = load_model(source, load_config(source), device="cpu")
    assert gpt.tokenizer is not None
    texts = ("The cat sat.", "It ran.")
    encoded = encode(gpt, Request(texts, packed=True, no_cache=True))
    own = [token for text in texts for token in gpt.tokenizer(text)["input_ids"]]
    assert encoded.batch.ids.tolist() == [own]
    assert set(encoded.inputs) == {"input_ids", "position_ids", "use_cache"}
    assert encoded.inputs["use_cache"] is False
    assert np.array_equal(encoded.inputs["position_ids"].numpy(), encoded.batch.position_ids)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model_type", "request_", "kind", "said"),
    [
        ("llama", Request(ids=((5, 6),), packed=True), UsageError, "needs more than one text"),
        ("llama", Request(ids=((5,), (6,)), packed=True, pad_to=9), UsageError, "packed= and pad_to="),
        ("llama", Request(ids=((5,), (6,)), packed=True, cumulative_positions=True), UsageError, "'cumsum' are given"),
        ("llama", Request(ids=((5,), (6,)), packed=True, target_ids=((1,), (2,))), UsageError, "and a target"),
        ("llama", Request(ids=((5,), tuple(range(3, 90))), packed=True), CannotTraceError, "has positions for 64"),
        ("t5", Request(ids=((5,), (6,)), packed=True), CannotTraceError, "an encoder and a decoder"),
        ("bloom", Request(ids=((5,), (6,)), packed=True), CannotTraceError, "takes no position ids"),
        ("bert", Request(ids=((5,),), no_cache=True), UsageError, "takes no use_cache"),
    ],
)
def test_what_cannot_be_packed_is_said(model_type: str, request_: Request, kind: type[MaskvizError], said: str) -> None:
    with pytest.raises(kind, match=said):
        encode(loaded_tiny(model_type), request_)
