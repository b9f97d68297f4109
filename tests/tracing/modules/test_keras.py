"""Attention of Keras' layers is heard as Keras itself gives it, and hearing it changes nothing."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch

from maskviz.core.arrays import FloatArray
from maskviz.core.errors import CannotTraceError
from maskviz.core.run.trace import Delivery
from maskviz.tracing.modules.ear import Ear
from maskviz.tracing.modules.heard import HeardCall, Hearing
from maskviz.tracing.modules.keras_layers import call_keras, is_keras, keras_card_facts, listening_to_keras
from maskviz.tracing.modules.keras_spread import with_even_rows
from maskviz.tracing.modules.subjects import KerasSubject
from maskviz.tracing.seam import keras_names
from maskviz.tracing.seam.replacing import MovedError

pytestmark = [
    pytest.mark.slow("imports Keras, which takes seconds"),
    # what Keras' own ways to numpy say of torch's tensors; ours are held to say nothing
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def keras() -> Any:
    if find_spec("keras") is None:  # to import it is to choose what computes, which the kit does
        pytest.skip("Keras is not installed")
    from tests.tracing.modules import keras_kit

    return keras_kit.keras


@pytest.fixture(scope="module")
def kit(keras: Any) -> Any:
    from tests.tracing.modules import keras_kit

    keras.utils.set_random_seed(0)
    return keras_kit


@contextmanager
def listening(model: Any, gates: dict[int, FloatArray] | None = None) -> Iterator[Hearing]:
    hearing = Hearing(gates=gates or {})
    with listening_to_keras(model, hearing):
        yield hearing


def heard(model: Any, inputs: Any, gates: dict[int, FloatArray] | None = None) -> tuple[Any, list[HeardCall]]:
    with listening(model, gates) as hearing:
        output = call_keras(model, inputs)
    return output, hearing.calls


def close(found: Any, expected: Any, within: float = 2e-6) -> None:
    np.testing.assert_allclose(found, expected, atol=within, rtol=1e-5)


_ALIKE = ["plain", "causal", "mask", "mask of numbers", "mask of floats", "mask by head", "mask and causal"]
_ALIKE += ["padding and causal", "window", "window and causal", "cross", "cross with keys of their own and padding"]
_ALIKE += ["equal and not the same", "gate of its own", "dropout"]
_OF_ONE = ["plain", "scaled", "causal", "padding", "padding of queries, too", "padding and causal", "cross"]
_OF_ONE += ["keys of their own", "keys that are the queries"]
_OF_MHA = ["values of another width", "another output", "bfloat16", "float16", "along the last axis of three"]
_OF_MHA += ["along the first axis of three", "along two axes", "along two axes with a mask"]
CASES = [
    *(f"MultiHeadAttention: {name}" for name in _ALIKE + _OF_MHA),
    *(f"GroupQueryAttention: {name}" for name in _ALIKE),
    *(f"Attention: {name}" for name in [*_OF_ONE, "of concatenations"]),
    *(f"AdditiveAttention: {name}" for name in _OF_ONE),
]


def case_of(kit: Any, name: str) -> Any:
    if "values of another width" in name and kit.keras.backend.backend() == "jax":
        pytest.skip("Keras' kernel on jax takes none: the layer raises when nobody listens, too")
    return kit.CASES[name]


def test_every_case_is_asked(kit: Any) -> None:
    assert sorted(CASES) == sorted(kit.CASES)


@pytest.mark.parametrize("name", CASES)
def test_weights_are_those_that_the_layer_itself_returns(kit: Any, name: str) -> None:
    case = case_of(kit, name)
    layer = case.layer()
    plain = call_keras(layer, case.arguments)
    output, (call,) = heard(layer, case.arguments)
    truth_output, scores = kit.scores_of(layer, case.arguments)
    rows, heads = call.rows, call.heads
    close(call.weights, scores.reshape(rows, heads, *call.weights.shape[2:]))
    assert np.array_equal(output, plain), "the layer ran as it does when nobody listens"
    close(output, truth_output, 0.02 if "float16" in name else 1e-5)
    assert call.weights.dtype == np.float32 and call.weights.ndim == 4
    assert (call.module, call.how, call.number) == ("", f"keras {name.partition(':')[0]}", 0)
    assert call.heads == (1 if "inputs" in case.arguments else kit.HEADS)
    assert call.key_heads == (case.key_heads or call.heads)


@pytest.mark.parametrize("name", CASES)
def test_what_was_handed_over_is_what_is_said_of_it(kit: Any, name: str) -> None:
    case = case_of(kit, name)
    _, (call,) = heard(case.layer(), case.arguments)
    expected = np.broadcast_to(np.asarray(case.visible), call.weights.shape)
    assert call.visible.dtype == np.bool_
    assert np.array_equal(np.broadcast_to(call.visible, call.weights.shape), expected)
    assert (call.given, call.cross) == (case.given, case.cross)
    assert (call.padding is None) == (case.padding is None)
    if case.padding is not None:
        assert call.padding is not None and np.array_equal(call.padding, case.padding)
    assert not call.weights[~expected].any() or not expected.any(-1).all()


def test_how_a_mask_came_is_said(kit: Any) -> None:
    def delivery(name: str) -> Delivery:
        case = kit.CASES[name]
        return heard(case.layer(), case.arguments)[1][0].delivery

    assert delivery("MultiHeadAttention: plain") is delivery("Attention: plain") is Delivery.NOTHING
    assert delivery("MultiHeadAttention: mask") is delivery("Attention: padding") is Delivery.BOOLEAN
    assert delivery("MultiHeadAttention: window") is Delivery.BOOLEAN
    assert delivery("GroupQueryAttention: causal") in (Delivery.FLAG, Delivery.BOOLEAN)


def test_rows_and_cells_of_several_axes_are_in_the_order_of_the_axes(kit: Any) -> None:
    """Row 3 of axis 1 of [batch, 3, 5, width]: image 0, column 3; a position of two axes is row * 5 + column."""
    layer = kit.multi_head(attention_axes=1)()
    _, (call,) = heard(layer, kit.CASES["MultiHeadAttention: along the first axis of three"].arguments)
    column = kit.IMAGE[:1, :, 3]
    _, scores = kit.scores_of(_same_weights(kit.multi_head()(), layer, column), {"query": column, "value": column})
    close(call.weights[3], scores[0])
    both = kit.multi_head()()
    _, (call,) = heard(both, {"query": kit.IMAGE, "value": kit.IMAGE})
    flat = kit.IMAGE.reshape(kit.BATCH, -1, kit.WIDTH)
    _, scores = kit.scores_of(_same_weights(kit.multi_head()(), both, flat), {"query": flat, "value": flat})
    close(call.weights, scores)


def _same_weights(layer: Any, other: Any, inputs: FloatArray) -> Any:
    layer(inputs, inputs)
    layer.set_weights(
        [new.reshape(old.shape) for old, new in zip(layer.get_weights(), other.get_weights(), strict=True)]
    )
    return layer


def naive(layer: Any, arguments: dict[str, Any], scores: FloatArray, gate: FloatArray) -> FloatArray:
    """Output [batch, query, width] of a layer whose weights are `scores`, with a factor on what each head mixes."""
    query, value = arguments["query"], arguments["value"]
    parts = [weight.path.split("/")[-2:] for weight in layer.weights]
    weights = {"/".join(part): array for part, array in zip(parts, layer.get_weights(), strict=True)}
    kernel, bias = weights["value/kernel"], weights["value/bias"]
    values = np.einsum("bkm,mvh->bkvh", value, kernel) + bias
    values = values.repeat(scores.shape[1] // values.shape[2], axis=2)
    mixed = np.zeros((*query.shape[:2], *values.shape[2:]), np.float32)
    for head in range(scores.shape[1]):
        for row in range(len(query)):
            mixed[row, :, head] = gate[head] * (scores[row, head] @ values[row, :, head])
    if "gate/kernel" in weights:
        own = np.einsum("bqm,muh->bquh", query, weights["gate/kernel"]) + weights["gate/bias"]
        mixed *= 1 / (1 + np.exp(-own))
    return np.asarray(
        np.einsum("bquh,uhm->bqm", mixed, weights["attention_output/kernel"]) + weights["attention_output/bias"]
    )


@pytest.mark.parametrize("name", ["plain", "mask and causal", "cross", "gate of its own", "dropout"])
@pytest.mark.parametrize("kind", ["MultiHeadAttention", "GroupQueryAttention"])
def test_gates_are_factors_on_what_heads_mix_before_the_output_projection(kit: Any, kind: str, name: str) -> None:
    case = kit.CASES[f"{kind}: {name}"]
    layer = case.layer()
    _, (call,) = heard(layer, case.arguments)
    for gate in ([0, 1, 1, 1], [1, 0, 0.5, -2]):
        factors = np.array(gate, np.float32)
        output, (gated,) = heard(layer, case.arguments, {0: factors})
        close(output, naive(layer, case.arguments, call.weights, factors), 1e-5)
        assert np.array_equal(gated.weights, call.weights), "weights are those before the gate"


def test_the_gate_of_a_layer_with_one_head_is_a_factor_on_its_output(kit: Any) -> None:
    for name in ("Attention: padding of queries, too", "AdditiveAttention: causal"):
        case = kit.CASES[name]
        layer = case.layer()
        plain = call_keras(layer, case.arguments)
        output, _ = heard(layer, case.arguments, {0: np.array([0.25], np.float32)})
        close(output, 0.25 * plain)


@pytest.mark.parametrize("name", CASES)
def test_gates_of_one_change_nothing(kit: Any, name: str) -> None:
    case = case_of(kit, name)
    layer = case.layer()
    output, (call,) = heard(layer, case.arguments)
    gated, _ = heard(layer, case.arguments, {0: np.ones(call.heads or 1, np.float32)})
    assert np.array_equal(output, gated)


def test_keras_masks_of_an_embedding_are_padding(kit: Any, keras: Any) -> None:
    inputs = keras.Input((kit.QUERIES,), dtype="int32")
    hidden = keras.layers.Embedding(kit.VOCABULARY, kit.WIDTH, mask_zero=True)(inputs)
    attention = keras.layers.MultiHeadAttention(2, 4, name="attention")
    both = attention(hidden, hidden, use_causal_mask=True, return_attention_scores=True)
    model, with_scores = keras.Model(inputs, both[0]), keras.Model(inputs, both)
    _, scores = call_keras(with_scores, kit.IDS)
    _, (call,) = heard(model, kit.IDS)
    close(call.weights, scores)
    kept = kit.IDS != 0
    assert call.padding is not None and np.array_equal(call.padding, kept)
    assert np.array_equal(
        np.broadcast_to(call.visible, scores.shape)[:, 0], kept[:, :, None] & kept[:, None, :] & kit.CAUSAL
    )
    assert (call.module, call.given, call.cross) == ("attention", True, False)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.filterwarnings("ignore:.*does not support masking and will therefore destroy the mask:UserWarning")
def test_blocks_of_a_classifier_are_heard_each_at_its_path(kit: Any, keras: Any, padded: bool) -> None:
    model = kit.classifier(padded)
    _, calls = heard(model, kit.IDS)
    assert [call.module for call in calls] == [f"block_0/{att(model, 0)}", f"block_1/{att(model, 1)}"]
    hidden = model.get_layer("embedding")(kit.IDS)
    for number, call in enumerate(calls):
        block = model.get_layer(f"block_{number}")
        _, scores = block.att(hidden, hidden, return_attention_scores=True)
        if padded and call.padding is not None:
            assert np.array_equal(call.padding, kit.IDS != 0)
        elif not padded:
            assert call.padding is None and call.visible.all()
            close(call.weights, kit.array(scores))
        if number == 0:
            assert (call.padding is not None) == padded
        hidden = block(hidden, training=False)


def att(model: Any, number: int) -> str:
    return str(model.get_layer(f"block_{number}").att.name)


def test_a_gate_in_a_block_is_what_its_layers_make_of_the_gated_attention(kit: Any) -> None:
    model = kit.classifier()
    block = model.get_layer("block_0")
    inputs = kit.numbers(2, 5, kit.WIDTH, seed=5)
    _, (call,) = heard(block, inputs)
    gate = np.array([0.0, 1.0], np.float32)
    output, _ = heard(block, inputs, {0: gate})
    mixed = naive(block.att, {"query": inputs, "value": inputs}, call.weights, gate)
    first = block.layernorm1(inputs + mixed)
    close(output, kit.array(block.layernorm2(first + block.ffn(first))), 2e-5)


def test_a_model_that_is_built_while_it_is_listened_to_is_heard_once(kit: Any, keras: Any) -> None:
    class Model(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = keras.layers.Dense(kit.WIDTH)
            self.block = kit.TransformerBlock(kit.WIDTH, 2, 4, name="block")

        def call(self, inputs: Any) -> Any:
            return self.block(self.embedding(inputs))

    model = Model()
    output, (call,) = heard(model, kit.X)
    assert call.module == f"block/{model.block.att.name}" and output.shape == kit.X.shape


def test_layers_in_lists_dictionaries_closures_and_models_in_models_are_heard(kit: Any, keras: Any) -> None:
    apart = keras.layers.MultiHeadAttention(1, 4, name="apart")

    class Holder(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="holder")
            self.several = [keras.layers.MultiHeadAttention(2, 4, name="listed")]
            self.named = {"one": keras.layers.GroupQueryAttention(4, 4, 2, name="named")}
            self.inner = keras.Sequential([kit.TransformerBlock(kit.WIDTH, 2, 4, name="block")], name="inner")

        def call(self, inputs: Any) -> Any:
            hidden = self.several[0](inputs, inputs) + self.named["one"](inputs, inputs)
            return self.inner(apart(hidden, hidden))

    inputs = keras.Input((5, kit.WIDTH))
    model = keras.Model(inputs, Holder()(inputs))
    block = model.get_layer("holder").inner.layers[0]
    _, calls = heard(model, kit.X)
    assert [(call.module, call.heads, call.key_heads) for call in calls] == [
        ("holder/listed", 2, 2),
        ("holder/named", 4, 2),
        ("holder/apart", 1, 1),
        (f"holder/inner/block/{block.att.name}", 2, 2),
    ]


def test_a_layer_of_the_model_that_is_called_alone_has_its_path_and_those_of_others_are_silent(kit: Any) -> None:
    model, other = kit.classifier(), kit.classifier()
    with listening(model) as hearing:
        other(kit.IDS)
        kit.multi_head()()(kit.X, kit.X)
        assert hearing.calls == []
        block = model.get_layer("block_1")
        block.att(kit.X, kit.X)
    assert [call.module for call in hearing.calls] == [f"block_1/{block.att.name}"]


def test_other_threads_are_not_heard(kit: Any) -> None:
    model = kit.classifier()
    with listening(model) as hearing:
        apart = Thread(target=lambda: model(kit.IDS))
        apart.start()
        apart.join()
        assert hearing.calls == [] and not hearing.ran
        call_keras(model, kit.IDS)
        assert len(hearing.calls) == 2


def test_a_shared_layer_is_heard_each_time_it_runs(kit: Any, keras: Any) -> None:
    inputs = keras.Input((5, kit.WIDTH))
    attention = keras.layers.MultiHeadAttention(2, 4, name="shared")
    model = keras.Model(inputs, attention(*[attention(inputs, inputs)] * 2))
    gate = np.array([0, 1], np.float32)
    plain, calls = heard(model, kit.X)
    assert [(call.number, call.module) for call in calls] == [(0, "shared"), (1, "shared")]
    second, _ = heard(model, kit.X, {1: gate})
    once = kit.array(attention(kit.X, kit.X))
    close(second, naive(attention, {"query": once, "value": once}, calls[1].weights, gate), 1e-5)
    assert np.abs(second - plain).max() > 1e-3


def test_subclasses_that_attend_in_their_own_way_are_heard(kit: Any, keras: Any) -> None:
    ops = keras.ops

    class Turned(keras.layers.MultiHeadAttention):  # type: ignore[misc]
        """Changes queries, and asks Keras' own without handing on that scores are wanted."""

        def _compute_attention(self, query: Any, key: Any, value: Any, attention_mask: Any = None, *rest: Any) -> Any:
            return super()._compute_attention(-query, key, value, attention_mask)

    class Own(keras.layers.MultiHeadAttention):  # type: ignore[misc]
        def _compute_attention(self, query: Any, key: Any, value: Any, attention_mask: Any = None, *rest: Any) -> Any:
            scores = ops.softmax(-ops.einsum("bqhd,bkhd->bhqk", query, key), axis=-1)
            return ops.einsum("bhqk,bkhd->bqhd", scores, value), scores

    class Silent(Own):
        def _compute_attention(self, *rest: Any, **more: Any) -> Any:
            return Own._compute_attention(self, *rest, **more)[0], None

    class Causal(keras.layers.MultiHeadAttention):  # type: ignore[misc]
        def call(self, hidden: Any) -> Any:
            return super().call(hidden, hidden, use_causal_mask=True)

        def build(self, input_shape: Any) -> None:
            super().build(input_shape, input_shape)

        def compute_output_spec(self, hidden: Any) -> Any:
            return keras.KerasTensor(hidden.shape)

    given = {"query": kit.X, "value": kit.X}
    for kind in (Turned, Own, Silent):
        layer = kind(2, 4)
        plain = call_keras(layer, given)
        output, (call,) = heard(layer, given)
        close(output, plain, 1e-5)
        close(output, naive(layer, given, call.weights, np.ones(2, np.float32)), 1e-5)
        gate = np.array([0, 2], np.float32)
        close(heard(layer, given, {0: gate})[0], naive(layer, given, call.weights, gate), 1e-5)
    layer = Causal(2, 4)
    _, (call,) = heard(layer, kit.X)
    assert np.array_equal(np.broadcast_to(call.visible, call.weights.shape)[0, 0], kit.CAUSAL)
    assert (call.given, call.cross) == (True, False)


def test_a_layer_whose_own_way_gives_no_scores_is_said(kit: Any, keras: Any) -> None:
    class Mean(keras.layers.MultiHeadAttention):  # type: ignore[misc]
        def _compute_attention(self, query: Any, key: Any, value: Any, *rest: Any, **more: Any) -> Any:
            return value, None

    layer = Mean(2, 4)
    call_keras(layer, {"query": kit.X, "value": kit.X})
    with pytest.raises(CannotTraceError, match="Mean attends in a way of its own, which gives no attention scores"):
        heard(layer, {"query": kit.X, "value": kit.X})


def test_flash_attention_is_asked_for_its_weights_without_its_kernel(kit: Any) -> None:
    for make in (kit.multi_head, kit.grouped):
        plain, flash = make()(), make(flash_attention=True)()
        given = {"query": kit.X, "value": kit.X, "use_causal_mask": True}
        output, scores = kit.scores_of(plain, given)
        flash.build(kit.X.shape, kit.X.shape)
        flash.set_weights(plain.get_weights())
        found, (call,) = heard(flash, given)
        close(found, output)
        close(call.weights, scores)


def test_a_query_that_may_attend_to_nothing_has_the_weights_that_made_its_output(kit: Any) -> None:
    """Zeros where the layer works out its weights; where a fused kernel runs, it mixes all values evenly."""
    mask = kit.SQUARE.copy()
    mask[0, 1] = False
    given = {"query": kit.X, "value": kit.X, "attention_mask": mask}
    for make in (kit.multi_head, kit.grouped):
        for dropout, expected in ((0.0, 1 / kit.QUERIES), (0.5, 0.0)):
            layer = make(dropout=dropout)()
            plain = call_keras(layer, given)
            output, (call,) = heard(layer, given)
            assert np.array_equal(output, plain)
            close(naive(layer, given, call.weights, np.ones(kit.HEADS, np.float32)), plain, 1e-5)
            close(call.weights[0, :, 1], np.full_like(call.weights[0, :, 1], expected))
            assert not call.visible[0, :, 1].any()


def test_only_a_row_that_a_kernel_mixed_evenly_is_said_to_be_even() -> None:
    generator = np.random.default_rng(0)
    value = generator.normal(size=(1, 3, 2, 4)).astype(np.float32)
    weights = np.zeros((1, 2, 3, 3), np.float32)
    visible = np.zeros((1, 1, 3, 3), np.bool_)
    visible[..., 2, :] = True
    output = generator.normal(size=(1, 3, 2, 4)).astype(np.float32)
    output[0, 0, 1] = (value[0, 0, 1] + value[0, 1, 1] + value[0, 2, 1]) / 3
    found = with_even_rows(weights, visible, output, value, within=1e-5)
    close(found[0, 1, 0], [1 / 3] * 3)
    assert np.count_nonzero(found) == 3


def test_a_mask_whose_numbers_are_no_zeros_and_ones_is_heard_as_the_plain_call_reads_it(kit: Any) -> None:
    """A fused kernel takes all that is not 0 for True, the softmax that gives weights what is above one half."""
    numbers = np.where(kit.SQUARE, 0.25, 0.0).astype("float32")
    for make in (kit.multi_head, kit.grouped):
        layer = make()()
        given = {"query": kit.X, "value": kit.X, "attention_mask": numbers}
        plain = call_keras(layer, given)
        output, (call,) = heard(layer, given)
        close(output, plain, 1e-5)
        assert np.array_equal(call.visible[:, 0], kit.SQUARE)


def test_attention_written_with_the_operations_of_keras_is_heard_where_torch_computes(kit: Any, keras: Any) -> None:
    if keras.backend.backend() != "torch":
        pytest.skip("what jax and tensorflow compute by hand is not listened to")

    class ByHand(keras.Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            scores = keras.ops.matmul(x, keras.ops.transpose(x, (0, 2, 1)))
            return keras.ops.matmul(keras.ops.softmax(scores), x)

    hearing = Hearing()
    output = KerasSubject(ByHand(), kit.X).heard(hearing)
    (call,) = hearing.calls
    close(np.matmul(call.weights, kit.X), output, 1e-5)


def test_what_tensorflow_compiles_is_heard_as_it_is_written_and_what_jax_compiles_is_refused(
    kit: Any, keras: Any
) -> None:
    backend = keras.backend.backend()
    if backend == "torch":
        pytest.skip("torch compiles with a compiler of C++, which may not be here")
    compiles = import_module(backend)

    class Compiled(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.attention = keras.layers.MultiHeadAttention(2, 4, name="attention")
            self.attention.build(kit.X.shape, kit.X.shape)
            self.attend = (compiles.jit if backend == "jax" else compiles.function)(self.attended)

        def attended(self, hidden: Any) -> Any:
            return self.attention(hidden, hidden, use_causal_mask=True)

        def call(self, inputs: Any) -> Any:
            return self.attend(inputs)

    model = Compiled()
    if backend == "jax":
        with pytest.raises(CannotTraceError, match="attention runs inside a compiled function"):
            heard(model, kit.X)
        return
    plain = call_keras(model, kit.X)
    output, (call,) = heard(model, kit.X)
    close(output, plain)
    assert call.module == "attention" and not compiles.config.functions_run_eagerly()


def test_attention_over_more_axes_leaves_open_which_is_what(kit: Any, keras: Any) -> None:
    layer = keras.layers.Attention()
    split = kit.numbers(2, 3, 5, 4)
    _, scores = kit.scores_of(layer, {"inputs": [split, split]})
    plain, (call,) = heard(layer, [split, split])
    assert call.weights.shape == (2, 3, 5, 5) and (call.rows, call.heads) == (None, None)
    close(call.weights, scores)
    gated, _ = heard(layer, [split, split], {0: np.array([1, 0, 2], np.float32)})
    close(gated, plain * np.array([1, 0, 2], np.float32)[:, None, None])


def test_beside_an_ear_for_torch_layers_are_heard_once_and_what_is_written_by_hand_too(kit: Any, keras: Any) -> None:
    if keras.backend.backend() != "torch":
        pytest.skip("the ear is for torch")
    ops = keras.ops

    class ByHand(keras.layers.Layer):  # type: ignore[misc]
        def call(self, hidden: Any) -> Any:
            return ops.matmul(ops.softmax(ops.matmul(hidden, ops.swapaxes(hidden, -1, -2))), hidden)

    inputs = keras.Input((5, kit.WIDTH))
    hidden = kit.TransformerBlock(kit.WIDTH, 2, 4, name="block")(inputs)
    hidden = keras.layers.Attention(name="attention")([hidden, hidden])
    model = keras.Model(inputs, ByHand(name="by_hand")(hidden))
    hearing = Hearing()
    with listening_to_keras(model, hearing), Ear(hearing):
        call_keras(model, kit.X)
    att = model.get_layer("block").att.name
    assert [(call.module, call.how) for call in hearing.calls] == [
        (f"block/{att}", "keras MultiHeadAttention"),
        ("attention", "keras Attention"),
        ("by_hand", "softmax"),
    ]


def test_nothing_is_left_behind(kit: Any, keras: Any) -> None:
    model = kit.classifier()
    model(kit.IDS)
    layers = keras.layers
    owners = [(layers.Layer, "__call__"), *((one, "call") for one in (layers.MultiHeadAttention, layers.Attention))]
    before = {one: vars(one[0])[one[1]] for one in owners}
    weights = [weight.copy() for weight in model.get_weights()]
    with listening(model, {0: np.array([0, 1], np.float32)}) as hearing:
        assert vars(layers.Layer)["__call__"] is not before[layers.Layer, "__call__"]
        call_keras(model, kit.IDS)
    assert {one: vars(one[0])[one[1]] for one in owners} == before
    assert hearing.running == [] and len(hearing.calls) == 2
    assert all(np.array_equal(old, new) for old, new in zip(weights, model.get_weights(), strict=True))
    assert {"", "block_0", "embedding/embedding"} & hearing.ran.keys() >= {"", "block_0"}
    assert hearing.ran["block_1"] == "TransformerBlock"


def test_attributes_that_ask_a_layer_for_its_scores_are_as_before(kit: Any) -> None:
    for make in (kit.multi_head, kit.grouped):
        layer = make()()
        layer(kit.X, kit.X)
        state = {
            name: vars(layer)[name] for name in vars(layer) if name in ("_flash_attention", "_return_attention_scores")
        }
        heard(layer, {"query": kit.X, "value": kit.X})
        assert {name: vars(layer)[name] for name in state} == state


def test_a_model_that_raises_leaves_everything_as_before(kit: Any, keras: Any) -> None:
    class Broken(keras.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            if keras.ops.is_tensor(inputs) and inputs.shape[0] == kit.BATCH:
                raise ValueError("it broke here\nand there")
            return inputs

    attention = keras.layers.MultiHeadAttention(2, 4)
    inputs = keras.Input((5, kit.WIDTH))
    model = keras.Model(inputs, Broken()(attention(inputs, inputs)))
    before = vars(keras.layers.Layer)["__call__"]
    with pytest.raises(CannotTraceError, match=r"^Functional raised ValueError: it broke here$"):
        heard(model, kit.X)
    assert vars(keras.layers.Layer)["__call__"] is before
    assert keras.config.is_traceback_filtering_enabled()
    output = model(kit.X[:1])
    assert output.shape == (1, 5, kit.WIDTH)


def test_our_own_mistakes_are_none_of_the_models(kit: Any) -> None:
    layer = kit.multi_head()()
    call_keras(layer, {"query": kit.X, "value": kit.X})
    with pytest.raises(TypeError), listening(layer) as hearing:
        hearing.calls = None  # type: ignore[assignment]
        call_keras(layer, {"query": kit.X, "value": kit.X})


def test_counters_seeds_losses_and_masks_are_as_before(kit: Any, keras: Any) -> None:
    class Counting(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.seeds = keras.random.SeedGenerator(3)
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

        def call(self, inputs: Any) -> Any:
            self.count.assign(self.count + 1.0)
            self.add_loss(keras.ops.sum(inputs))
            noise = keras.random.normal((1,), seed=self.seeds) + keras.random.normal((1,))
            return inputs + noise

        def compute_output_spec(self, inputs: Any) -> Any:
            return keras.KerasTensor(inputs.shape)

    attention = keras.layers.MultiHeadAttention(2, 4)
    model = keras.Sequential([keras.Input((5, kit.WIDTH)), Counting()])
    model(kit.X)
    counting = model.layers[0]
    state = [kit.array(one).copy() for one in (counting.count, counting.seeds.state)]
    losses = [kit.array(one) for one in model.losses]
    for _ in range(2):
        first, second = (call_keras(model, kit.X + shift) - shift for shift in (0, 1))
        close(first, second, 1e-5)
        import_module("keras.src.backend.common.global_state").set_global_attribute("global_seed_generator", None)
    assert all(
        np.array_equal(a, kit.array(b)) for a, b in zip(state, (counting.count, counting.seeds.state), strict=True)
    )
    assert len(losses) == 1 and [kit.array(one) for one in model.losses] == losses
    hidden = keras.layers.Embedding(kit.VOCABULARY, kit.WIDTH, mask_zero=True)(kit.IDS)
    mask = keras_names.attached_mask(hidden)
    assert mask is not None
    _, (call,) = heard(attention, {"query": hidden, "value": hidden})
    assert keras_names.attached_mask(hidden) is mask and call.padding is not None


def test_inputs_are_taken_in_the_forms_that_people_have(kit: Any, keras: Any) -> None:
    first, second = keras.Input((5, kit.WIDTH), name="query"), keras.Input((7, kit.WIDTH), name="memory")
    attention = keras.layers.MultiHeadAttention(2, 4)
    listed = keras.Model([first, second], attention(first, second))
    named = keras.Model({"query": first, "memory": second}, {"out": attention(first, second)})
    bare = call_keras(attention, {"query": kit.X, "value": kit.OTHER})
    close(call_keras(attention, [kit.X, kit.OTHER]), bare)
    close(call_keras(listed, [kit.X, kit.OTHER]), bare)
    close(call_keras(listed, [torch.from_numpy(kit.X), torch.from_numpy(kit.OTHER)]), bare)
    answer = call_keras(named, {"query": kit.X.astype("float64"), "memory": keras.ops.convert_to_tensor(kit.OTHER)})
    assert list(answer) == ["out"] and answer["out"].dtype == np.float32
    close(answer["out"], bare)
    ids = call_keras(kit.classifier(), kit.IDS.tolist())
    assert ids.shape == (2, 2)
    with pytest.raises(CannotTraceError, match="MultiHeadAttention takes query, value, and got one input"):
        call_keras(attention, kit.X)


def test_nothing_warns(kit: Any) -> None:
    model = kit.classifier()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        heard(model, kit.IDS, {0: np.array([0, 1], np.float32)})


def test_calling_is_inference(kit: Any, keras: Any) -> None:
    model = keras.Sequential([keras.layers.Dropout(0.9)])
    close(call_keras(model, kit.X), kit.X)


def test_what_a_model_is_is_said(kit: Any, keras: Any) -> None:
    model = kit.classifier()
    facts = keras_card_facts(model)
    assert (facts.architecture, facts.parameters) == ("Functional", model.count_params())
    assert (facts.dtype, facts.device) == ("float32", f"keras on {keras.backend.backend()}")
    assert keras_card_facts(kit.multi_head(dtype="mixed_bfloat16")()).dtype == "mixed_bfloat16"


def test_only_layers_and_models_are_of_keras(kit: Any) -> None:
    assert is_keras(kit.multi_head()()) and is_keras(kit.classifier())
    assert not any(map(is_keras, (torch.nn.Linear(2, 2), kit.classifier, None, np.ones(2))))


def test_asking_does_not_import_keras() -> None:
    code = (
        "import sys, torch\nfrom maskviz.tracing.modules.keras_layers import is_keras\n"
        "from maskviz.tracing.seam.canaries import what_has_moved\n"
        "print(is_keras(torch.nn.Linear(2, 2)), what_has_moved(), 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "()", "False"]


def test_a_release_that_keeps_its_attention_elsewhere_is_said(
    kit: Any, keras: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.layers.Attention, "_apply_scores", lambda self, elsewhere: None)
    said = f"keras {keras.__version__}: where the layers of Keras turn scores into weights is not where it was"
    with pytest.raises(MovedError, match=said):
        heard(kit.multi_head()(), {"query": kit.X, "value": kit.X})


def test_an_old_release_is_refused(kit: Any, keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras, "__version__", "2.15.0")
    with pytest.raises(CannotTraceError, match=r"keras 2\.15\.0: its layers can be heard from release 3 on"):
        call_keras(kit.multi_head()(), {"query": kit.X, "value": kit.X})
