"""Listening to a module leaves everything as it was, also where the module raises."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import flex_attention

from maskviz.core.errors import CannotTraceError
from tests.own_modules import apart, patterns, ran, silenced

ROWS, LENGTH, WIDTH, HEADS = 2, 5, 8, 2
X = torch.randn(ROWS, LENGTH, WIDTH, generator=torch.Generator().manual_seed(0))


class Everything(nn.Module):
    """A module with state of every kind, that draws random numbers and attends in three ways."""

    count: torch.Tensor
    grown: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm1d(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 16, batch_first=True)
        self.layer.eval()
        self.raises = False
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("kept", None)
        self.register_buffer("grown", torch.zeros(1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        self.grown = torch.cat([self.grown, self.grown])
        self.kept = x.clone()
        noise = torch.rand(()) + random.random() + float(np.random.rand())
        x = self.norm(x.transpose(1, 2)).transpose(1, 2) + 0 * noise
        x = self.attention(x, x, x, need_weights=False)[0]
        x = self.layer(x)
        x = functional.scaled_dot_product_attention(x, x, x)
        x = (x @ x.mT).softmax(-1) @ x
        if self.raises:
            raise ValueError("the forward's own")
        x.mul_(1.0)
        return x


def state(module: nn.Module) -> Any:
    """All that somebody could find changed: numbers with where they are kept, modes, hooks, flags and generators."""
    buffers = {
        name: (id(one), None if one is None else one.tolist())
        for part in module.modules()
        for name, one in part._buffers.items()
    }
    return {
        "buffers": buffers,
        "parameters": {name: (id(one), one.tolist(), one.grad is None) for name, one in module.named_parameters()},
        "modes": [part.training for part in module.modules()],
        "hooks": [
            (list(part._forward_hooks), list(part._forward_pre_hooks), dict(part._forward_hooks_always_called))
            for part in module.modules()
        ],
        "names": [sorted(vars(part)) for part in module.modules()],
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "kernels": [
            getattr(torch.backends.cuda, f"{name}_sdp_enabled")() for name in ("flash", "math", "mem_efficient")
        ],
        "flex": getattr(flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", None),
        "stance": str(torch._dynamo.eval_frame._stance),
        "gradients": torch.is_grad_enabled(),
        "modes of torch": torch._C._len_torch_function_stack(),
        "generators": (torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())),
    }


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluating"])
@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
def test_everything_is_afterwards_as_it_was(training: bool, raises: bool) -> None:
    module = Everything().train(training)
    module.layer.eval()  # parts may be in another mode than the whole
    module.raises = raises
    module.register_forward_hook(lambda *_: None)
    before, given = state(module), X.clone()
    if raises:
        with pytest.raises(CannotTraceError, match="ValueError: the forward's own"):
            ran(module, given)
    else:
        run = ran(module, given)
        assert state(module) == before
        silenced(run, 0, 1)
    assert state(module) == before
    assert torch.equal(given, X)


class Remembered:
    """A cache that is no module: keys in a list."""

    def __init__(self) -> None:
        self.keys: list[torch.Tensor] = []


class Remembering(nn.Module):
    """A decoder that keeps its cache in attributes, as caches are often written."""

    def __init__(self) -> None:
        super().__init__()
        self.cache, self.position, self.written = Remembered(), 0, torch.zeros(ROWS, 20, WIDTH)
        self.weights: torch.Tensor | None = None
        self.seen: dict[str, int] = {"calls": 0}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.cache.keys.append(x)
        self.written[:, self.position : self.position + x.shape[1]] = x
        keys = self.written[:, : self.position + x.shape[1]]
        later = torch.ones(x.shape[1], keys.shape[1], dtype=torch.bool).triu(self.position + 1)
        self.position += x.shape[1]
        self.seen["calls"] += 1
        self.weights = (x @ keys.mT).masked_fill(later, -torch.inf).softmax(-1)
        assert torch.equal(keys, torch.cat(self.cache.keys, 1))
        return self.weights @ keys


def test_what_a_module_remembers_in_its_attributes_is_what_it_remembered_before() -> None:
    module, twin = Remembering(), Remembering()
    for one in (module, twin):
        one(X)
    before, cached, written = module.weights, module.cache, module.written.clone()
    step = X[:, :2]
    found = patterns(ran(module, step))
    assert apart(found, [twin(step) is not None and twin.weights[:, None]]) < 1e-6  # type: ignore[index]
    assert module.cache is cached
    assert len(cached.keys) == 1
    assert (module.position, module.seen) == (LENGTH, {"calls": 1})
    assert module.weights is before
    assert torch.equal(module.written, written)


def test_the_same_random_numbers_are_drawn_after_as_without_looking() -> None:
    module = Everything()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    ran(module, X)
    assert torch.equal(torch.rand(4), expected)


def test_gradients_are_those_of_a_module_nobody_listened_to() -> None:
    listened, other = Everything().eval(), Everything().eval()
    ran(listened, X)
    for module in (listened, other):
        module(X).sum().backward()
    for (name, one), (_, same) in zip(listened.named_parameters(), other.named_parameters(), strict=True):
        assert one.grad is not None and same.grad is not None and torch.equal(one.grad, same.grad), name


def test_a_gradient_that_is_there_already_is_kept() -> None:
    module = Everything().eval()
    module(X).sum().backward()
    before = {name: one.grad.clone() for name, one in module.named_parameters() if one.grad is not None}
    ran(module, X)
    assert all(torch.equal(one.grad, before[name]) for name, one in module.named_parameters() if one.grad is not None)


def test_outputs_are_those_of_a_plain_call() -> None:
    module = Everything().eval()
    with torch.no_grad():
        plain = Everything().eval()(X)
    run = ran(module, X)
    assert run.output is not None and apart(run.output, plain) < 1e-6


def test_hooks_of_the_user_run_once_for_each_pass_and_see_what_they_always_see() -> None:
    module, seen = Everything().eval(), []
    module.attention.register_forward_hook(lambda part, given, output: seen.append(output[1]))
    ran(module, X)
    assert seen == [None, None]  # a plain pass and one that is listened to; no weights were asked for


def test_what_other_threads_run_is_not_heard() -> None:
    ready, go = threading.Event(), threading.Event()

    class Waiting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            ready.set()
            go.wait(10)
            return functional.scaled_dot_product_attention(x, x, x)

    other = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()
    found: list[Any] = []

    def elsewhere() -> None:
        ready.wait(10)
        with torch.no_grad():
            for _ in range(3):
                functional.scaled_dot_product_attention(X, X, X)
                found.append(other(X, X, X, need_weights=False)[1])
        go.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    run = ran(Waiting(), X)
    thread.join()
    assert len(run.trace.calls) == 1
    assert found == [None] * 3


def test_a_module_that_two_threads_run_is_heard_in_the_one_that_listens() -> None:
    shared = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()

    class Sharing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = shared

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            def again() -> None:
                shared(x, x, x, need_weights=False)

            thread = threading.Thread(target=again)
            thread.start()
            thread.join()
            return torch.as_tensor(shared(x, x, x, need_weights=False)[0])

    assert len(patterns(ran(Sharing(), X))) == 1
