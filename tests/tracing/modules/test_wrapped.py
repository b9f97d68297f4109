"""Modules inside what wraps them: compiled, parallel, sharded, adapted, scripted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import maskviz
from maskviz.core.errors import UsageError
from tests.own_modules import NEAR, apart, patterns, ran

ROWS, LENGTH, WIDTH, HEADS = 2, 5, 8, 2
X = torch.randn(ROWS, LENGTH, WIDTH, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """Attention of the module with its own projections, and by hand."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(x, x, x, need_weights=False)[0]
        weights = (self.query(x) @ self.key(x).mT).softmax(-1)
        return torch.as_tensor(x + weights @ self.value(x))


def expected() -> list[Any]:
    return patterns(ran(Block().eval(), X))


def assert_as_bare(module: Any) -> Any:
    run = ran(module, X)
    for found, own in zip(patterns(run), expected(), strict=True):
        assert apart(found, own) < NEAR
    return run


def test_a_compiled_module_runs_as_it_is_written_and_that_is_said() -> None:
    run = assert_as_bare(torch.compile(Block().eval()))
    assert run.trace.notes == ("torch.compile: what is compiled ran as it is written",)


def test_parts_that_are_compiled_run_as_they_are_written() -> None:
    module = Block().eval()
    module.attention.compile()
    run = assert_as_bare(module)
    assert "torch.compile: what is compiled ran as it is written" in run.trace.notes
    whole = Block().eval()
    whole.forward = torch.compile(whole.forward)  # type: ignore[method-assign]
    assert_as_bare(whole)


def test_data_parallel_is_unwrapped() -> None:
    assert_as_bare(nn.DataParallel(Block().eval()))


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/there", rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_distributed_data_parallel_is_unwrapped() -> None:
    assert_as_bare(nn.parallel.DistributedDataParallel(Block().eval()))


@pytest.mark.usefixtures("one_process")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_sharded_module_is_run_in_its_wrapper() -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    assert_as_bare(FullyShardedDataParallel(Block().eval(), device_id=torch.device("cpu")))


@pytest.mark.usefixtures("one_process")
def test_a_module_whose_parameters_are_sharded_is_run_where_it_is() -> None:
    from torch.distributed import device_mesh
    from torch.distributed.fsdp import fully_shard

    module = Block().eval()
    fully_shard(module, mesh=device_mesh.init_device_mesh("cpu", (1,)))
    try:
        with torch.no_grad():
            module(X)
    except AttributeError as error:
        pytest.skip(f"this torch shards on accelerators alone: {error}")
    assert_as_bare(module)


def test_adapters_of_peft_around_a_plain_module_are_heard_as_it_runs() -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    config = peft.LoraConfig(target_modules=["query", "value"], r=2, init_lora_weights=False)
    torch.manual_seed(1)
    adapted = peft.get_peft_model(Block().eval(), config).eval()
    run = ran(adapted, X)
    merged = adapted.merge_and_unload()
    for found, own in zip(patterns(run), patterns(ran(merged, X)), strict=True):
        assert apart(found, own) < 1e-5
    assert apart(patterns(run)[1], expected()[1]) > 1e-3  # the adapter does something


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripted_modules_are_refused_in_plain_words() -> None:
    class Plain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x @ x.mT).softmax(-1) @ x

    with pytest.raises(UsageError) as refused:
        maskviz.trace(torch.jit.script(Plain()), {"x": X})
    assert "scripted by torch.jit" in str(refused.value)
    assert refused.value.hint == "give the module it was made from"
    around = nn.Sequential(torch.jit.trace(Plain(), X))  # type: ignore[no-untyped-call]
    with pytest.raises(UsageError, match="0 of the module was scripted"):
        maskviz.trace(around, {"input": X})
