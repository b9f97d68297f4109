"""A probe is random ordinary tokens said twice, between what the tokenizer puts around a text."""

from __future__ import annotations

import numpy as np
import pytest

from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.load.models.model import Loaded, load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.probe import probe_of
from maskviz.load.texts.request import Request


def loaded_from(name: str) -> Loaded:
    source = resolve(name)
    return load_model(source, load_config(source))


@pytest.fixture(scope="module")
def bert() -> Loaded:
    return loaded_from("demo:bert")


def test_each_row_says_its_tokens_twice_within_the_tokenizers_frame(bert: Loaded) -> None:
    probe = probe_of(bert, 9, 3, 5)
    assert bert.tokenizer is not None
    assert probe.ids.shape == (3, 20)
    assert set(probe.ids[:, 0]) == {bert.tokenizer.cls_token_id}
    assert set(probe.ids[:, -1]) == {bert.tokenizer.sep_token_id}
    assert np.array_equal(probe.ids[:, 1:10], probe.ids[:, 10:19])
    assert all(len(set(row)) == 9 for row in probe.ids[:, 1:10].tolist())
    assert not set(probe.ids[:, 1:-1].ravel()) & set(bert.tokenizer.all_special_ids)
    assert [np.flatnonzero(row).tolist() for row in probe.counted] == [list(range(10, 19))] * 3


def test_a_seed_gives_its_row_whatever_stands_beside_it(bert: Loaded) -> None:
    assert np.array_equal(probe_of(bert, 9, 3, 5).ids[2], probe_of(bert, 9, 1, 7).ids[0])
    assert not np.array_equal(probe_of(bert, 9, 2, 5).ids[0], probe_of(bert, 9, 2, 5).ids[1])


def test_a_tokenizer_that_adds_nothing_gets_nothing_added() -> None:
    assert probe_of(loaded_from("demo:gpt"), 9, 1, 0).ids.shape == (1, 18)


def test_an_encoder_decoder_reads_the_probe_on_both_sides() -> None:
    request = probe_of(loaded_from("demo:t5"), 9, 2, 0).request(Request())
    assert request.ids == request.target_ids


def test_what_does_not_fit_is_said_with_what_would(bert: Loaded) -> None:
    with pytest.raises(CannotTraceError, match="positions for 512") as caught:
        probe_of(bert, 256, 1, 0)
    assert caught.value.hint == "give at most 255"
    with pytest.raises(UsageError, match="ordinary tokens"):
        probe_of(bert, 5000, 1, 0)
