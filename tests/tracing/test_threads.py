"""Other models run in other threads while one is traced: none of them is heard, and none is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import torch

from maskviz.core.run.trace import Trace
from maskviz.core.words import Backend
from maskviz.load.texts.encode import encode
from maskviz.tracing.backends.handing import hand_over
from maskviz.tracing.long.run import rehearse
from maskviz.tracing.run import run
from tests.architectures import tiny
from tests.traced import traced
from tests.tracing.conftest import loaded_tiny, padded_request

IDS = {"input_ids": torch.tensor([[5, 6, 7, 8, 9, 10]])}


@contextmanager
def running_meanwhile(*models: Any) -> Iterator[list[torch.Tensor]]:
    """Other models run in a thread all the while; gives what they put out."""
    found: list[torch.Tensor] = []
    failed: list[BaseException] = []
    ended, begun = Event(), Event()

    def go_on() -> None:
        try:
            while not ended.is_set():
                for model in models:
                    with torch.no_grad():
                        found.append(model(**IDS).logits)
                begun.set()
        except BaseException as error:
            failed.append(error)
            begun.set()

    thread = Thread(target=go_on)
    thread.start()
    begun.wait()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
    if failed:
        raise failed[0]


def trace_of(model_type: str) -> Trace:
    return traced(loaded_tiny(model_type), padded_request(model_type)).trace


def assert_same(one: Trace, other: Trace) -> None:
    assert len(one.calls) == len(other.calls)
    for call, again in zip(one.calls, other.calls, strict=True):
        assert (call.module, call.layer, str(call.mask.rule)) == (again.module, again.layer, str(again.mask.rule))
        assert np.array_equal(call.mask.visible, again.mask.visible)
        assert call.pattern is not None
        assert again.pattern is not None
        np.testing.assert_allclose(call.pattern, again.pattern, atol=1e-6)
    assert one.notes == other.notes


# On the attention interface, with windows, written by hand, an encoder-decoder.
@pytest.mark.parametrize(("model_type", "times"), [("llama", 50), ("gemma3", 10), ("bloom", 10), ("t5", 10)])
def test_traces_are_those_without_another_model_in_a_thread(model_type: str, times: int) -> None:
    alone = trace_of(model_type)
    others = [tiny("llama", seed=1, attention="eager"), tiny("bert", seed=1, attention="eager"), tiny("mistral")]
    with torch.no_grad():
        expected = [model(**IDS).logits for model in others]
    with running_meanwhile(*others) as found:
        for _ in range(times):
            assert_same(trace_of(model_type), alone)
    for index, output in enumerate(found):
        torch.testing.assert_close(output, expected[index % len(others)], atol=1e-5, rtol=1e-5)


def test_backends_and_long_runs_do_not_touch_other_threads_either() -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, padded_request("llama"))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    others = [tiny("llama", seed=1, attention="eager"), tiny("llama", seed=2, attention="sdpa")]
    with torch.no_grad():
        expected = [model(**IDS).logits for model in others]
    with running_meanwhile(*others) as found:
        for backend in Backend:
            over = hand_over(loaded.model, encoded.inputs, trace, backend)
            assert len(over.calls) == len(trace.calls)
        rehearse(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    for index, output in enumerate(found):
        torch.testing.assert_close(output, expected[index % len(others)], atol=1e-5, rtol=1e-5)


def test_the_same_model_may_run_in_a_thread_while_it_is_traced() -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, padded_request("llama"))
    alone = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    with running_meanwhile(loaded.model):
        for _ in range(10):
            assert_same(run(loaded.model, encoded.inputs, encoded.batch, loaded.card), alone)


def test_a_model_that_its_own_forward_runs_beside_it_is_not_heard() -> None:
    """A teacher that no module of the student's holds."""
    loaded, teacher = loaded_tiny("llama"), tiny("llama", seed=3, attention="eager")
    encoded = encode(loaded, padded_request("llama"))
    alone = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    handle = loaded.model.register_forward_pre_hook(lambda *_: (teacher(**IDS), None)[1])
    try:
        assert_same(run(loaded.model, encoded.inputs, encoded.batch, loaded.card), alone)
    finally:
        handle.remove()
