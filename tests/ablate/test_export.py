"""What is written without its silenced heads does what the masked model does, and is really smaller."""

from __future__ import annotations

import ast
import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import PreTrainedModel

from maskviz.ablate.export import MODELLING_FILE, check_folder, export
from maskviz.ablate.keeping import kept_heads, layout_of
from maskviz.ablate.projections import LAYOUTS, place
from maskviz.ablate.savings import filled, measured
from maskviz.ablate.slicing import sliced
from maskviz.core.errors import CannotTraceError, NotFoundError, UsageError
from maskviz.core.results.export import Export
from maskviz.core.run.heads import HeadMask, parse_head_mask
from maskviz.core.run.trace import Trace
from maskviz.load.models.model import Loaded, load_config, load_model, quiet
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Encoded, Request, encode
from maskviz.tracing.calling import main_output
from maskviz.tracing.run import head_shapes, run, run_gated
from tests.tracing.conftest import loaded_tiny, padded_request
from tools.model_types import model_types
from tools.tiny_models import encoded, tinies

TYPES = [name for name in LAYOUTS if name in model_types()]
FIRST_OF_LAYOUT = [name for name in TYPES if LAYOUTS[name] not in [LAYOUTS[one] for one in TYPES[: TYPES.index(name)]]]


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """A tiny model and a run of it."""

    loaded: Loaded
    inputs: dict[str, Any]
    trace: Trace

    @property
    def model(self) -> PreTrainedModel:
        return self.loaded.model


def tried(model_type: str) -> Tried:
    quiet()
    model = next(iter(tinies(model_types()[model_type]))).build()
    loaded, batch = encoded(model, model_type)
    return Tried(loaded, batch.inputs, run(model, batch.inputs, batch.batch, loaded.card))


def written(one: Tried, mask: HeadMask, folder: Path) -> Export:
    return export(one.loaded, one.inputs, one.trace, mask, folder, seconds=0)


def read(folder: Path) -> PreTrainedModel:
    """The folder as plain transformers loads it, with nothing of ours."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if "auto_map" in config:
        auto = getattr(transformers, next(iter(config["auto_map"])))
        model = auto.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32)
    else:
        model = getattr(transformers, config["architectures"][0]).from_pretrained(folder, dtype=torch.float32)
    assert isinstance(model, PreTrainedModel)
    assert not model.training
    return model


def output(model: PreTrainedModel, inputs: dict[str, Any]) -> torch.Tensor:
    with torch.no_grad():
        found = main_output(model(**inputs))
    assert found is not None
    return found


def gated_output(one: Tried, mask: HeadMask) -> torch.Tensor:
    returned: list[Any] = []
    hook = one.model.register_forward_hook(lambda *heard: returned.append(heard[-1]))
    run_gated(one.model, one.inputs, one.trace, mask)
    hook.remove()
    found = main_output(returned[0])
    assert found is not None
    return found


def naive_twin(one: Tried, mask: HeadMask) -> PreTrainedModel:
    """The model with the columns of silenced heads set to zero, one by one."""
    twin = copy.deepcopy(one.model)
    layout = layout_of(twin)
    for call in one.trace.calls:
        weight = twin.get_parameter(place(call.module, layout.columns) + ".weight")
        inputs = (
            weight if "Conv1D" in type(twin.get_submodule(place(call.module, layout.columns))).__name__ else weight.T
        )
        size = inputs.shape[0] // call.heads
        for head in range(call.heads):
            if mask.gates[call.stack][call.layer, head] == 0:
                inputs.data[head * size : (head + 1) * size] = 0
    return twin


def real(one: Tried, tensor: torch.Tensor) -> torch.Tensor:
    side = one.trace.batch.decoder or one.trace.batch
    return tensor[torch.as_tensor(side.keep.copy())]


def gates(one: Tried, seed: int, *, even: bool) -> HeadMask:
    """Silence the same number of heads in every layer, of whole groups; or any, and all of a layer, too."""
    generator = np.random.default_rng(seed)
    tables = {stack: np.ones(shape, np.float32) for stack, shape in head_shapes(one.trace).items()}
    for call in one.trace.calls:
        if even:
            group = call.heads // call.key_heads
            first = int(generator.integers(call.key_heads)) * group
            tables[call.stack][call.layer, first : first + group] = 0
            if group == 1:
                tables[call.stack][call.layer, (first + 1) % call.heads] = 0
        else:
            tables[call.stack][call.layer, generator.permutation(call.heads)[: 1 + call.layer % 2]] = 0
    if not even:
        tables[one.trace.calls[0].stack][one.trace.calls[0].layer] = 0
    return HeadMask(tables)


@pytest.mark.filterwarnings("ignore:Initializing zero-element")  # a tiny MobileBERT has a projection of none
@pytest.mark.parametrize(
    ("model_type", "even"), [(one, True) for one in FIRST_OF_LAYOUT] + [(one, False) for one in TYPES]
)
def test_what_is_written_does_what_the_masked_model_does(model_type: str, even: bool, tmp_path: Path) -> None:
    one = tried(model_type)
    mask = gates(one, seed=3, even=even)
    folder = tmp_path / "smaller"
    report = written(one, mask, folder)
    smaller, twin = read(folder), naive_twin(one, mask)
    masked = gated_output(one, mask)
    size = max(1.0, float(masked.abs().max()))
    assert float(real(one, output(smaller, one.inputs) - masked).abs().max()) < 1e-5 * size
    assert float(real(one, output(one.model, one.inputs) - masked).abs().max()) > 1e-3 * size, "the mask must matter"
    others = {name: tensor.flip(0) if "ids" in name else tensor for name, tensor in one.inputs.items()}
    for inputs in (one.inputs, others):
        assert float(real(one, output(smaller, inputs) - output(twin, inputs)).abs().max()) < 1e-5 * size
    assert report.needs_trust == (folder / f"{MODELLING_FILE}.py").exists()
    assert sum(parameter.numel() for parameter in smaller.parameters()) == report.saving.after.parameters


def of_tiny(model_type: str) -> Tried:
    """Three layers (T5: three and two) of four heads, in two groups where key heads are shared."""
    loaded = loaded_tiny(model_type)
    batch = encode(loaded, padded_request(model_type))
    return Tried(loaded, batch.inputs, run(loaded.model, batch.inputs, batch.batch, loaded.card))


@pytest.mark.parametrize("mask", ["0:0,1; 1:2,3; 2:0,1", "*:0,2", "0:*; 1:1,2,3; 2:0,1"])
@pytest.mark.parametrize("model_type", ["llama", "mistral", "gemma2", "gemma3", "qwen3", "gpt_oss"])
def test_shared_key_heads_go_with_their_groups(model_type: str, mask: str, tmp_path: Path) -> None:
    one = of_tiny(model_type)
    heads = parse_head_mask(mask, head_shapes(one.trace))
    report = written(one, heads, tmp_path / "new")
    smaller = read(tmp_path / "new")
    assert smaller.config.num_attention_heads == len(report.kept[0].query) == 2
    assert smaller.config.num_key_value_heads == len(report.kept[0].key)
    size = max(1.0, report.output_size)
    for expected in (gated_output(one, heads), output(naive_twin(one, heads), one.inputs)):
        assert float(real(one, output(smaller, one.inputs) - expected).abs().max()) < 1e-5 * size


def stays(model_type: str, mask: str) -> list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """(query heads, key heads, zeroed heads) that stay in each call."""
    one = of_tiny(model_type)
    kept = kept_heads(one.model, one.trace, parse_head_mask(mask, head_shapes(one.trace)))
    return [(layer.query, layer.key, layer.zeroed) for layer in kept]


def test_a_layer_of_bert_keeps_its_own_heads_and_never_none() -> None:
    assert stays("bert", "0:1,3; 2:*") == [
        ((0, 2), (0, 2), ()),
        ((0, 1, 2, 3), (0, 1, 2, 3), ()),
        ((0,), (0,), (0,)),
    ]


def test_a_key_head_goes_with_its_whole_group() -> None:
    assert stays("qwen3", "0:0,1; 1:2,3; 2:0,1") == [((2, 3), (1,), ()), ((0, 1), (0,), ()), ((2, 3), (1,), ())]


def test_each_group_keeps_as_many_query_heads() -> None:
    assert stays("qwen3", "*:0,2") == [((1, 3), (0, 1), ())] * 3


def test_heads_stay_zeroed_where_another_layer_keeps_more() -> None:
    assert stays("qwen3", "0:0,1,2; 1:2,3; 2:2,3") == [((2, 3), (1,), (2,)), ((0, 1), (0,), ()), ((0, 1), (0,), ())]


@pytest.mark.parametrize(("model_type", "stay"), [("qwen3", 3), ("llama", 4)])
def test_a_head_stays_zeroed_where_the_config_wants_their_number_to_divide_the_width(
    model_type: str, stay: int
) -> None:
    """LlamaConfig refuses three heads on a width of 64, whatever their size; Qwen3Config does not."""
    one = tried(model_type)
    assert (one.trace.calls[0].heads, one.trace.calls[0].key_heads) == (4, 4)
    for layer in kept_heads(one.model, one.trace, parse_head_mask("*:1", head_shapes(one.trace))):
        assert (len(layer.query), layer.zeroed) == (stay, () if stay == 3 else (1,))


def test_layers_of_t5_keep_the_heads_that_share_a_table() -> None:
    kept = stays("t5", "encoder 0:0,1; encoder 1:1,2; encoder 2:1; decoder *:1; cross 0:0; cross 1:3")
    assert kept[0] == ((0, 2, 3), (0, 2, 3), (0,))
    assert kept[1] == ((0, 2, 3), (0, 2, 3), (2,))
    assert kept[4] == ((1, 2, 3), (1, 2, 3), ()), "cross attention reads no table"


@pytest.mark.parametrize(("mask", "said"), [("1:2=0.5", r"head 1\.2 has the gate 0\.5"), ("1:2=1", "silences no head")])
def test_a_gate_that_is_no_yes_or_no_is_refused(mask: str, said: str, tmp_path: Path) -> None:
    one = of_tiny("bert")
    with pytest.raises(UsageError, match=said):
        written(one, parse_head_mask(mask, head_shapes(one.trace)), tmp_path / "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model_type", ["bloom", "mpt", "falcon", "albert", "xlnet"])
def test_an_architecture_that_is_not_on_the_list_is_refused(model_type: str, tmp_path: Path) -> None:
    one = of_tiny(model_type)
    with pytest.raises(CannotTraceError, match=type(one.model).__name__) as error:
        written(one, parse_head_mask("0:0", head_shapes(one.trace)), tmp_path / "new")
    assert error.value.hint is not None
    assert "save_mask(...)" in error.value.hint
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_refused_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = of_tiny("bert")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    monkeypatch.setattr(one.model, "forward", None)
    with pytest.raises(UsageError, match="not empty"):
        written(one, parse_head_mask("0:0", head_shapes(one.trace)), tmp_path / "used")
    with pytest.raises(UsageError, match="is a file"):
        check_folder(tmp_path / "used" / "file")
    with pytest.raises(NotFoundError, match="does not exist"):
        check_folder(tmp_path / "none" / "new")
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty")


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_what_does_not_do_what_the_mask_does_leaves_nothing_behind(
    model_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*given: Any) -> dict[str, torch.Tensor]:
        state = sliced(*given)
        return {
            name: tensor * 1.01 if "layers.1" in name or "layer.1" in name else tensor for name, tensor in state.items()
        }

    monkeypatch.setattr("maskviz.ablate.export.sliced", damaged)
    one = of_tiny(model_type)
    with pytest.raises(CannotTraceError, match="does not do what the head mask does"):
        written(one, parse_head_mask("*:0,1", head_shapes(one.trace)), tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_a_weight_by_head_that_an_option_adds_is_refused(tmp_path: Path) -> None:
    config = transformers.CohereConfig(
        vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
        intermediate_size=40, use_qk_norm=True, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = transformers.CohereForCausalLM(config).eval()
    loaded, batch = encoded(model, "cohere")
    one = Tried(loaded, batch.inputs, run(model, batch.inputs, batch.batch, loaded.card))
    with pytest.raises(CannotTraceError, match="CohereForCausalLM does not load without its heads"):
        written(one, parse_head_mask("*:0,1", head_shapes(one.trace)), tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_the_model_that_was_exported_is_as_it_was(tmp_path: Path) -> None:
    one = of_tiny("llama")
    config, state = one.model.config.to_dict(), copy.deepcopy(one.model.state_dict())
    written(one, parse_head_mask("*:0,1", head_shapes(one.trace)), tmp_path / "new")
    assert one.model.config.to_dict() == config
    assert all(torch.equal(tensor, one.model.state_dict()[name]) for name, tensor in state.items())


def demo(name: str) -> tuple[Loaded, Encoded, Trace]:
    source = resolve(f"demo:{name}")
    loaded = load_model(source, load_config(source), device="cpu")
    batch = encode(loaded, Request(("The cat sat on the mat.", "A dog barked.")))
    return loaded, batch, run(loaded.model, batch.inputs, batch.batch, loaded.card)


def test_the_exported_demo_generates_what_the_masked_one_would(tmp_path: Path) -> None:
    loaded, batch, trace = demo("gpt")
    one = Tried(loaded, batch.inputs, trace)
    mask = parse_head_mask("0:0,1; 1:3; 2:2", head_shapes(trace))
    written(one, mask, tmp_path / "new")
    smaller = read(tmp_path / "new")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "new")
    assert (tmp_path / "new" / "generation_config.json").exists()
    prompt = tokenizer("The cat", return_tensors="pt").input_ids
    models: tuple[Any, Any] = (smaller, naive_twin(one, mask))
    both = [model.generate(prompt, max_new_tokens=20, do_sample=False) for model in models]
    assert both[0].shape[1] > prompt.shape[1] + 5
    assert torch.equal(*both)


def test_maskviz_loads_what_it_wrote_where_it_is_trusted(tmp_path: Path) -> None:
    loaded, batch, trace = demo("bert")
    report = written(
        Tried(loaded, batch.inputs, trace), parse_head_mask("0:0; 2:1,2,3", head_shapes(trace)), tmp_path / "new"
    )
    assert report.needs_trust
    source = resolve(str(tmp_path / "new"), offline=True, trust=True)
    again = load_model(source, load_config(source), device="cpu")
    assert again.notes == ()
    assert again.card.architecture == "PrunedBertForMaskedLM"
    encoded_again = encode(again, Request(("The cat sat on the mat.", "A dog barked.")))
    calls = run(again.model, encoded_again.inputs, encoded_again.batch, again.card).calls
    assert [call.heads for call in calls] == [3, 4, 1, 4]
    untrusted = resolve(str(tmp_path / "new"), offline=True)
    with pytest.raises(NotFoundError) as error:
        load_model(untrusted, load_config(untrusted), device="cpu")
    assert error.value.hint is not None
    assert "trust_remote_code=True" in error.value.hint


def test_the_modelling_file_is_short_and_valid(tmp_path: Path) -> None:
    one = of_tiny("gpt2")
    written(one, parse_head_mask("0:0", head_shapes(one.trace)), tmp_path / "new")
    text = (tmp_path / "new" / f"{MODELLING_FILE}.py").read_text("utf-8")
    ast.parse(text)
    assert len(text.splitlines()) < 80
    assert "$" not in text


def test_costs_are_those_of_the_formula(tmp_path: Path) -> None:
    one = of_tiny("llama")
    report = written(one, parse_head_mask("*:0,1", head_shapes(one.trace)), tmp_path / "new")
    for cost, heads, key_heads in ((report.saving.before, 4, 2), (report.saving.after, 2, 1)):
        projections = 3 * (2 * 32 * heads * 8 + 2 * 32 * key_heads * 8)
        assert cost.attention_parameters == projections
        matrices = projections + 3 * (3 * 32 * 40) + 99 * 32
        assert cost.flops_per_token == 2 * matrices + 3 * 2 * 2 * report.saving.length * heads * 8
        assert cost.weight_bytes == 4 * cost.parameters
    assert report.saving.before.parameters - report.saving.after.parameters == 3 * (2 * 32 * 2 * 8 + 2 * 32 * 8)
    assert report.removed == 6
    assert report.file_bytes == (tmp_path / "new" / "model.safetensors").stat().st_size


def test_speed_is_measured_in_turn() -> None:
    one = of_tiny("t5")
    inputs = filled(one.model, one.trace, 2, 8)
    assert {name: tuple(tensor.shape) for name, tensor in inputs.items()} == dict.fromkeys(
        ("input_ids", "decoder_input_ids", "attention_mask"), (2, 8)
    )
    order: list[str] = []
    other = copy.deepcopy(one.model)
    one.model.register_forward_pre_hook(lambda *_: order.append("before"))
    other.register_forward_pre_hook(lambda *_: order.append("after"))
    speed = measured(one.model, other, inputs, 0.0)
    counted = order[2:]
    assert all(set(counted[start : start + 2]) == {"before", "after"} for start in range(0, len(counted), 2))
    assert counted[0] != counted[2]
    assert len(counted) == 2 * speed.rounds
    assert 0 < speed.before.low <= speed.before.median <= speed.before.high
