"""What is replaced for a while is put back by its name, and is replaced for one thread alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from transformers import AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from maskviz.core.words import Backend
from maskviz.load.texts.encode import encode
from maskviz.tracing.backends.handing import hand_over
from maskviz.tracing.listen.recorder import Expected, Recorder
from maskviz.tracing.listen.taps import listening
from maskviz.tracing.long.promised import Masks, masks_promised
from maskviz.tracing.run import run
from maskviz.tracing.seam.masks import mask_functions_replaced
from maskviz.tracing.seam.replacing import replaced
from tests.architectures import tiny
from tests.tracing.conftest import loaded_tiny, padded_request


def first() -> str:
    return "first"


def second() -> str:
    return "second"


def in_a_thread(function: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_other_threads_call_what_was_there() -> None:
    names = {"ask": first}
    with replaced(names, {"ask": second}):
        assert names["ask"]() == "second"
        assert in_a_thread(lambda: names["ask"]()) == "first"
    assert names == {"ask": first}


def test_what_others_registered_meanwhile_stays() -> None:
    names = {"ask": first}
    with replaced(names, {"ask": second}):
        names["other"] = first
    assert names == {"ask": first, "other": first}


def test_what_others_put_in_the_same_place_stays() -> None:
    names: dict[str, Callable[[], str]] = {"ask": first}
    theirs: Callable[[], str] = lambda: "theirs"  # noqa: E731
    with replaced(names, {"ask": second}):
        names["ask"] = theirs
    assert names == {"ask": theirs}


def test_a_name_that_was_not_there_is_gone_afterwards() -> None:
    names: dict[str, Callable[[], str]] = {}
    with replaced(names, {"ask": second}):
        assert names["ask"]() == "second"
    assert names == {}


def test_set_up_that_fails_half_way_is_taken_back() -> None:
    class Refusing(dict[str, Any]):
        def __setitem__(self, name: str, value: Any) -> None:
            if name == "two" and value is not first:
                raise RuntimeError("no more")
            super().__setitem__(name, value)

    names = Refusing(one=first, two=first)
    with pytest.raises(RuntimeError), replaced(names, {"one": second, "two": second}):
        pass
    assert names == {"one": first, "two": first}


@contextmanager
def listened() -> Iterator[None]:
    with listening(tiny("bert"), Recorder(Expected(1, frozenset({4}), frozenset({4})))):
        yield


@contextmanager
def promised() -> Iterator[None]:
    with masks_promised(tiny("llama"), Masks(), whole=True):
        yield


@pytest.mark.parametrize("way", [listened, promised])
def test_a_mask_function_registered_meanwhile_stays(way: Callable[[], Any]) -> None:
    registry = ALL_MASK_ATTENTION_FUNCTIONS
    before = dict(registry._local_mapping)
    with way():
        assert registry["eager"] is not eager_mask
        registry["mine"] = eager_mask
        AttentionMaskInterface.register("ours", eager_mask)
    try:
        assert registry["mine"] is eager_mask
        assert registry["ours"] is eager_mask
        assert registry["eager"] is eager_mask
    finally:
        del registry["mine"]
        AttentionMaskInterface._global_mapping.pop("ours")
    assert dict(registry._local_mapping) == before


def test_an_attention_registered_while_a_backend_is_asked_stays() -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, padded_request("llama"))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    sdpa = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def registering(*_: Any) -> None:
        ALL_ATTENTION_FUNCTIONS["mine"] = sdpa

    handle = loaded.model.register_forward_pre_hook(registering)
    try:
        hand_over(loaded.model, encoded.inputs, trace, Backend.SDPA)
        assert ALL_ATTENTION_FUNCTIONS["mine"] is sdpa
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is sdpa
    finally:
        handle.remove()
        del ALL_ATTENTION_FUNCTIONS["mine"]


def test_masks_of_other_models_are_built_as_ever() -> None:
    asked: list[Any] = []

    def listener(build: Callable[..., Any]) -> Callable[..., Any]:
        def heard(**arguments: Any) -> Any:
            asked.append(arguments["config"])
            return build(**arguments)

        return heard

    own, other = tiny("llama"), tiny("mistral")
    ids = {"input_ids": own.dummy_inputs["input_ids"] % 90}
    with mask_functions_replaced(own, ("eager", "sdpa"), listener):
        other(**ids)
        assert asked == []
        own(**ids)
        assert {id(one) for one in asked} == {id(own.config)}
