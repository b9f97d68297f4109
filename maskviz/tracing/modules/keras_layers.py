"""Attention of Keras' layers, heard at the layer: torch, jax and tensorflow behind it make no difference."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from maskviz.core.arrays import AnyArray, BoolArray, FloatArray
from maskviz.core.errors import CannotTraceError, MaskvizError
from maskviz.core.run.trace import Delivery
from maskviz.core.words import Dialect
from maskviz.tracing.calling import is_ours, same_randomness, to_array
from maskviz.tracing.modules.heard import HandedMask, Hearing, causal_cells, heads_said
from maskviz.tracing.modules.keras_spread import Spread, with_even_rows
from maskviz.tracing.seam import keras_names
from maskviz.tracing.seam.replacing import MovedError

_OLDEST = 3


def is_keras(thing: Any) -> bool:
    """Whether something is a layer or a model of Keras; imports nothing."""
    keras = keras_names.imported_keras()
    return keras is not None and isinstance(thing, keras.layers.Layer)


@dataclass(frozen=True, slots=True)
class KerasFacts:
    """What a model of Keras is.

    Attributes:
        architecture: Its class.
        parameters: Numbers in its weights; 0 before it is built, which its first call does.
        dtype: Its policy of types, such as "float32" or "mixed_bfloat16".
        device: Keras and what computes for it, such as "keras on torch".
    """

    architecture: str
    parameters: int
    dtype: str
    device: str


def keras_card_facts(model: Any) -> KerasFacts:
    """What a model of Keras is."""
    parameters = sum(math.prod(weight.shape) for weight in model.weights)
    device = f"keras on {_keras().backend.backend()}"
    return KerasFacts(type(model).__name__, parameters, str(model.dtype_policy.name), device)


def computes_with_torch(model: Any) -> bool:
    """Whether torch computes behind Keras."""
    del model
    return str(_keras().backend.backend()) == "torch"


def keras_vocabularies(model: Any) -> Iterator[int]:
    """Sizes of the tables of embeddings in a model."""
    for layer in keras_names.all_layers(model):
        if isinstance(layer, _keras().layers.Embedding):
            yield int(layer.input_dim)


@contextmanager
def listening_to_keras(model: Any, hearing: Hearing) -> Iterator[None]:
    """Hear every attention layer of a model that runs in the block, and apply the gates of the hearing.

    Layers of other models, and of other threads, are not heard.

    Raises:
        CannotTraceError: Keras is too old, keeps elsewhere what is listened to, or a layer cannot be heard.
    """
    keras = _keras()
    for canary in (keras_names.ATTENTION, keras_names.LAYERS):
        if canary.trouble():
            raise MovedError(canary.name, canary.package)
    listener = _Listener(hearing, _paths(model), keras.ops)
    try:
        with (
            keras_names.calls_replaced(listener.entering),
            keras_names.attention_replaced(listener.calling, listener.attending),
            _functions_run_as_written(),
        ):
            yield
    finally:
        hearing.running.clear()


@contextmanager
def _functions_run_as_written() -> Iterator[None]:
    """Run functions that tensorflow has compiled, or would, line by line: compiled ones are not listened to."""
    if _keras().backend.backend() != "tensorflow":
        yield
        return
    config = sys.modules["tensorflow"].config
    before = config.functions_run_eagerly()
    config.run_functions_eagerly(True)
    try:
        yield
    finally:
        config.run_functions_eagerly(before)


def _keras() -> Any:
    keras = keras_names.imported_keras()
    assert keras is not None, "whoever has a layer has imported Keras"
    if int(keras.__version__.partition(".")[0]) < _OLDEST:
        raise CannotTraceError(f"keras {keras.__version__}: its layers can be heard from release 3 on", "update keras")
    return keras


def _paths(model: Any) -> dict[int, str]:
    """The path of each layer in a model by its id: names of the layers around it and its own, "" for the model."""
    found = {id(model): ""}
    for layer in keras_names.all_layers(model):
        for child in keras_names.children(layer):
            found.setdefault(id(child), _below(found[id(layer)], child))
    return found


def _below(path: str, layer: Any) -> str:
    return f"{path}/{layer.name}" if path else str(layer.name)


@dataclass(frozen=True, slots=True, eq=False)
class _Ran:
    """One attention as it ran.

    Attributes:
        layer: Whose it is.
        given: What the method was called with.
        output: What heads put out.
        scores: Its weights.
        fused: Whether a fused kernel made the output.
    """

    layer: Any
    given: dict[str, Any]
    output: Any
    scores: Any
    fused: bool = False


class _Listener:
    """Functions that take the place of Keras' own while a model is listened to."""

    def __init__(self, hearing: Hearing, paths: dict[int, str], ops: Any) -> None:
        self._hearing, self._paths, self._ops = hearing, paths, ops
        self._handed: list[dict[str, Any]] = []

    @property
    def _deaf(self) -> bool:
        return self._hearing.deaf or keras_names.is_symbolic()

    def entering(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """`Layer.__call__` that says which layer runs."""

        def enter(layer: Any, *positional: Any, **arguments: Any) -> Any:
            running = self._hearing.running
            path = _below(running[-1][0], layer) if running else self._paths.get(id(layer))
            if path is None:
                return original(layer, *positional, **arguments)
            self._hearing.ran[path] = type(layer).__name__
            running.append((path, heads_said(layer)))
            try:
                return original(layer, *positional, **arguments)
            finally:
                running.pop()

        return enter

    def calling(self, kind: str, original: Callable[..., Any], own: bool) -> Callable[..., Any]:
        """`call` of a layer that attends, which notes what it was handed."""
        del kind, own
        signature = inspect.signature(original)

        def call(layer: Any, *positional: Any, **arguments: Any) -> Any:
            if self._deaf:
                return original(layer, *positional, **arguments)
            try:
                given = signature.bind(layer, *positional, **arguments).arguments
            except TypeError:  # the layer says it in its own words
                return original(layer, *positional, **arguments)
            self._handed.append(given)
            try:
                return original(layer, *positional, **arguments)
            finally:
                self._handed.pop()

        return call

    def attending(self, kind: str, original: Callable[..., Any], own: bool) -> Callable[..., Any]:
        """Where weights meet values, asked for its weights; an override of a user's may call Keras' own, or not."""
        signature = inspect.signature(original)
        of_kind = self._after_scores if kind == "Attention" else self._after_heads

        def attend(layer: Any, *positional: Any, **arguments: Any) -> Any:
            if self._deaf:
                return original(layer, *positional, **arguments)
            bound = signature.bind(layer, *positional, **arguments)
            heard, gate = self._hearing.number, self._hearing.gate()
            with self._hearing.looking_away() if own else nullcontext():
                with keras_names.without_flash(layer):
                    output, scores = original(*bound.args, **bound.kwargs)
                if self._hearing.number > heard:
                    return output, scores
                ran = _Ran(layer, dict(bound.arguments), output, scores)
                if scores is None:
                    ran = self._asked(ran, original, bound, own)
            of_kind(ran)
            return self._gated(output, gate, heads_at=-3 if kind == "Attention" else -2), scores

        return attend

    def _asked(self, ran: _Ran, original: Callable[..., Any], bound: inspect.BoundArguments, own: bool) -> _Ran:
        """The same once more, asked for its scores; a fused kernel has none."""
        given = dict(ran.given)
        if own:
            given["value"] = given["value"][..., :1]  # what is mixed is not asked for
            if given.get("attention_mask") is not None:  # a kernel lets see what is not 0
                given["attention_mask"] = self._ops.cast(given["attention_mask"], "bool")
        if "return_attention_scores" in bound.signature.parameters:
            given["return_attention_scores"] = True
        bound.arguments.update(given)
        with keras_names.asked_for_scores(ran.layer):
            _, scores = original(*bound.args, **bound.kwargs)
        if scores is None:
            raise CannotTraceError(
                f"{type(ran.layer).__name__} attends in a way of its own, which gives no attention scores",
                f"let its {original.__name__} return them beside the output",
            )
        return replace(ran, given={**given, "value": ran.given.get("value")}, scores=scores, fused=own)

    def _after_heads(self, ran: _Ran) -> None:
        """Keep a `MultiHeadAttention` or a `GroupQueryAttention`: scores [batch ..., head, query ..., key ...]."""
        layer, given, weights = ran.layer, ran.given, self._floats(ran.scores)
        axes = tuple(getattr(layer, "attention_axes", None) or (1,))
        spread = Spread(weights.shape, len(axes))
        handed = self._handed[-1] if self._handed else {}
        query, key, value = (handed.get(name) for name in ("query", "key", "value"))
        masks = [handed.get(name) for name in ("value_mask", "key_mask")]
        causal = bool(handed.get("use_causal_mask") or given.get("use_causal_mask"))
        mask = given.get("attention_mask")
        visible = spread.cells(None if mask is None else self._bools(mask, above=0.5))
        if given.get("use_causal_mask"):  # asked of the kernel: the mask alone does not say it
            visible = visible & causal_cells(*spread.square)
        weights = spread.flat(weights)
        if ran.fused and not visible.any(-1).all():
            near = 1e-2 if "16" in str(ran.output.dtype) else 1e-5
            output, values = self._floats(ran.output), self._floats(given["value"])
            weights = with_even_rows(weights, visible, output, values, within=near)
        self._hearing.keep(
            f"keras {'GroupQueryAttention' if hasattr(layer, 'num_key_value_heads') else 'MultiHeadAttention'}",
            weights,
            visible,
            rows=spread.rows,
            heads=spread.heads,
            key_heads=getattr(layer, "num_key_value_heads", spread.heads),
            padding=spread.padding([self._bools(one) for one in masks if one is not None], axes),
            given=handed.get("attention_mask") is not None or causal or keras_names.has_window(layer),
            cross=self._cross(query, value if key is None else key),
            delivery=_delivery(mask, bool(given.get("use_causal_mask"))),
            masks=self._handed_over(handed.get("attention_mask")),
        )

    def _after_scores(self, ran: _Ran) -> None:
        """Keep an `Attention` or `AdditiveAttention`, which have one head: scores [batch, query, key].

        Axes between batch and queries may be a user's heads: it is left open which axis is what.
        """
        layer, given, weights = ran.layer, ran.given, self._floats(ran.scores)
        handed = self._handed[-1] if self._handed else {}
        inputs: Any = handed.get("inputs") or ()
        masks: Any = handed.get("mask") or ()
        mask = None if given.get("scores_mask") is None else self._bools(given["scores_mask"])
        visible: BoolArray = np.ones((1,) * weights.ndim, np.bool_)
        if mask is not None:
            visible = np.broadcast_to(mask[:, None, :] if mask.ndim == 2 else mask, weights.shape)
        known: dict[str, Any] = {}
        if weights.ndim == 3:
            weights, visible = weights[:, None], visible[:, None]
            kept = masks[1] if len(masks) > 1 else None
            known = {"rows": len(weights), "heads": 1, "key_heads": 1}
            known["padding"] = None if kept is None else self._bools(kept)
        additive = isinstance(layer, _keras().layers.AdditiveAttention)
        self._hearing.keep(
            f"keras {'AdditiveAttention' if additive else 'Attention'}",
            weights,
            visible,
            given=bool(handed.get("use_causal_mask")),
            cross=self._cross(inputs[0], inputs[-1 if len(inputs) > 2 else 1]) if len(inputs) > 1 else None,
            delivery=_delivery(mask, False),
            **known,
        )

    def _gated(self, output: Any, gate: FloatArray | None, *, heads_at: int) -> Any:
        """Gates on what heads put out; `Attention` has one, or a batch axis in the place of heads."""
        if gate is None:
            return output
        factors = self._ops.convert_to_tensor(np.array(gate), dtype=output.dtype)
        if len(gate) == 1:
            return output * factors[0]
        return output * self._ops.reshape(factors, (-1, *[1] * (-1 - heads_at)))

    def _handed_over(self, mask: Any) -> tuple[HandedMask, ...]:
        return () if mask is None else (HandedMask("attention_mask", Dialect.KERAS, torch.tensor(self._array(mask))),)

    def _cross(self, query: Any, key: Any) -> bool | None:
        """Whether keys come from elsewhere than queries: another tensor, with other numbers."""
        if query is None or key is None:
            return None
        if query is key:
            return False
        return tuple(query.shape) != tuple(key.shape) or not np.array_equal(
            self._floats(query), self._floats(key), equal_nan=True
        )

    def _floats(self, tensor: Any) -> FloatArray:
        return np.asarray(self._array(tensor), np.float32)

    def _bools(self, mask: Any, above: float = 0.0) -> BoolArray:
        """A mask as Keras reads it: what is not 0 is seen, or where a softmax takes it, what is `above` one half."""
        array = self._array(mask)
        return np.asarray(array > above if above and array.dtype != np.bool_ else array != 0)

    def _array(self, tensor: Any) -> AnyArray:
        try:
            return keras_names.as_array(tensor)
        except (AttributeError, NotImplementedError, TypeError, RuntimeError) as error:
            raise CannotTraceError(
                "attention runs inside a compiled function, where tensors have no numbers yet",
                "leave out what compiles its layers, such as jax.jit",
            ) from error


def _delivery(mask: Any, flag: bool) -> Delivery:
    if mask is not None:
        return Delivery.BOOLEAN
    return Delivery.FLAG if flag else Delivery.NOTHING


def call_keras(model: Any, inputs: Any) -> Any:
    """Call a model or layer for inference; what calling it changes is put back.

    Args:
        model: A layer or model of Keras.
        inputs: A tensor or an array, or what else the model takes as its one input; arguments by name for a layer
            that takes several, or in their order in a list.

    Returns:
        What it returns, with a float32 array for each tensor.

    Raises:
        CannotTraceError: the model raised.
    """
    keras = _keras()
    known = keras.tree.map_structure(lambda one: _known_to_keras(model, one), _as_array(inputs))
    positional, arguments = _arguments(model, known)
    with _as_before(model, (positional, arguments)), _whole_tracebacks(), torch.no_grad():
        try:
            returned = model(*positional, **{"training": False, **arguments})
        except Exception as error:
            if isinstance(error, MaskvizError) or is_ours(error):
                raise
            said = (str(error).strip().splitlines() or [""])[0]
            raise CannotTraceError(
                f"{type(model).__name__} raised {type(error).__name__}: {said}",
                "does it run when it is called with these inputs, outside maskviz?",
            ) from error

    def floats(tensor: Any) -> Any:
        return tensor if tensor is None else np.asarray(keras_names.as_array(tensor), np.float32)

    return keras.tree.map_structure(floats, returned)


def _as_array(inputs: Any) -> Any:
    """Lists of plain numbers as the array they stand for."""
    leaves = _keras().tree.flatten(inputs)
    plain = isinstance(inputs, list) and bool(leaves) and all(isinstance(one, bool | int | float) for one in leaves)
    return np.array(inputs) if plain else inputs


def _known_to_keras(model: Any, value: Any) -> Any:
    """An array, or a tensor of torch where something else computes, as a tensor that Keras computes with; it takes no
    mixture of both."""
    ops = _keras().ops
    if ops.is_tensor(value):
        return value
    array = to_array(value) if isinstance(value, torch.Tensor) else value
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        return array
    return ops.convert_to_tensor(array, dtype=model.input_dtype if array.dtype.kind == "f" else None)


def _arguments(model: Any, inputs: Any) -> tuple[list[Any], dict[str, Any]]:
    """How a model is called with inputs: one value, or arguments in their order, or by name.

    A dictionary holds arguments where it has a name of one that must be there, unless the model's inputs have them.
    """
    parameters = inspect.signature(model.call).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    required = [one.name for one in parameters if one.default is one.empty and one.kind in named]
    if isinstance(inputs, dict):
        own = {str(one.name) for one in getattr(model, "inputs", None) or ()}
        if not own >= inputs.keys() and inputs.keys() & set(required):
            return [], dict(inputs)
    if len(required) > 1:
        if isinstance(inputs, list | tuple):
            return list(inputs), {}
        raise CannotTraceError(
            f"{type(model).__name__} takes {', '.join(required)}, and got one input",
            "give each by its name, in a dictionary",
        )
    return [inputs], {}


@contextmanager
def _as_before(model: Any, inputs: Any) -> Iterator[None]:
    """Put back after the block what calling a model changes: counters, seeds, losses, masks tied to its inputs."""
    keras = _keras()
    tensors = [one for one in keras.tree.flatten(inputs) if keras.ops.is_tensor(one)]
    masks = [(one, keras_names.attached_mask(one)) for one in tensors]
    before = keras_names.KerasState.of(model)
    try:
        with same_randomness():
            yield
    finally:
        before.restore()
        for tensor, mask in masks:
            keras_names.attach_mask(tensor, mask)


@contextmanager
def _whole_tracebacks() -> Iterator[None]:
    """Let Keras raise errors as they are: it rewrites them, and drops its own frames, which tell whose fault it is."""
    config = _keras().config
    filtering = config.is_traceback_filtering_enabled()
    config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtering:
            config.enable_traceback_filtering()
