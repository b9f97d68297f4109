"""A module of the user's own, asked by Python: every question a trace answers, and what is said of wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import maskviz
from maskviz.api.heads import HeadsRead
from maskviz.core.errors import UsageError
from maskviz.core.words import Role

ROWS, LENGTH, WIDTH, HEADS = 2, 6, 16, 4
PADDING = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])  # True is padding, as torch's modules have it


def seeded(build: Any) -> Any:
    torch.manual_seed(0)
    return build()


def vectors(rows: int = ROWS, length: int = LENGTH) -> torch.Tensor:
    return torch.randn(rows, length, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def encoder() -> nn.Module:
    layer = seeded(lambda: nn.TransformerEncoderLayer(WIDTH, HEADS, 32, batch_first=True))
    return nn.TransformerEncoder(layer, 2)


class Attention(nn.Module):
    """Four heads of one's own; `attend` decides how."""

    def __init__(self, kind: str = "fused") -> None:
        super().__init__()
        self.n_head, self.kind = HEADS, kind
        self.projections, self.output = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        rows, length, _ = x.shape
        query, key, value = (
            part.view(rows, length, HEADS, -1).transpose(1, 2) for part in self.projections(x).split(WIDTH, dim=-1)
        )
        if self.kind == "fused":
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
        else:
            later = torch.ones(length, length, dtype=torch.bool).triu(1)
            scores = (query @ key.mT / 2).masked_fill(later if mask is None else ~mask, float("-inf"))
            mixed = scores.softmax(-1) @ value
        put_out: torch.Tensor = self.output(mixed.transpose(1, 2).reshape(rows, length, WIDTH))
        return put_out


class LanguageModel(nn.Module):
    """Predicts the next of fifty tokens; id 0 is padding."""

    def __init__(self, leaking: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, WIDTH, padding_idx=0)
        self.layers = nn.ModuleList([Attention(), Attention()])
        self.head, self.leaking = nn.Linear(WIDTH, 50), leaking

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        everything = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool)
        for number, layer in enumerate(self.layers):
            x = x + layer(x, everything if self.leaking and number else None)
        logits: torch.Tensor = self.head(x)
        return logits


IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [3, 4, 5, 6, 0, 0]])


def test_a_trace_of_a_module_answers_what_a_trace_answers(encoder: nn.Module, tmp_path: Path) -> None:
    trace = maskviz.trace(encoder, {"src": vectors(), "src_key_padding_mask": PADDING})
    assert repr(trace) == "<Trace of TransformerEncoder: 2 x 6 tokens, 2 attention calls, 8 heads>"
    assert [str(call.mask.rule) for call in trace.calls] == ["padding", "padding"]
    assert np.array_equal(trace.batch.keep, ~PADDING.numpy())
    for suffix in (".npz", ".json", ".html", ".png", ".svg", ".txt"):
        assert trace.save(tmp_path / f"run{suffix}").stat().st_size
    loaded = maskviz.load_trace(tmp_path / "run.npz")
    for call, again in zip(trace.calls, loaded.calls, strict=True):
        assert np.array_equal(call.pattern, again.pattern)  # type: ignore[arg-type]
        assert np.array_equal(call.mask.visible, again.mask.visible)
    assert "padding" in str(maskviz.explain(trace, query=1, key=5, text=1))
    read = maskviz.heads(trace)
    assert isinstance(read, HeadsRead)
    assert len(read.layers) == 2
    assert maskviz.heads(trace, rollout=True).trace.calls[-1].pattern is not None


def test_inputs_come_by_name_by_position_and_alone() -> None:
    block = seeded(Attention)
    alone = maskviz.trace(block, vectors())
    for given in ((vectors(),), {"x": vectors()}, [vectors()], vectors().numpy(), {"x": vectors().numpy()}):
        again = maskviz.trace(block, given)
        assert np.array_equal(alone.calls[0].pattern, again.calls[0].pattern)  # type: ignore[arg-type]


def test_numbers_of_an_array_take_the_type_of_the_module() -> None:
    block = seeded(Attention)
    found = maskviz.trace(block, vectors().double().numpy())
    assert found.calls[0].pattern is not None


def test_a_silenced_head_is_silent_before_the_output_projection(encoder: nn.Module) -> None:
    given = {"src": vectors(), "src_key_padding_mask": PADDING}
    trace = maskviz.trace(encoder, given, head_mask="1:2")
    projection = encoder.layers[1].self_attn.out_proj.weight  # type: ignore[union-attr,index]
    before = projection.detach().clone()
    with torch.no_grad():
        projection[:, 2 * WIDTH // HEADS : 3 * WIDTH // HEADS] = 0
        naive = maskviz.trace(encoder, given)
        projection.copy_(before)
    after, expected = trace.outputs, naive.outputs
    assert after is not None and after.hidden is not None and expected is not None and expected.hidden is not None
    np.testing.assert_allclose(after.hidden, expected.hidden, atol=1e-6)
    assert trace.change is not None and trace.before is not None


def test_labels_name_positions_of_either_side() -> None:
    module = seeded(lambda: nn.Transformer(WIDTH, HEADS, 1, 1, 32, batch_first=True))
    given = {"src": vectors(), "tgt": vectors(length=5)}
    trace = maskviz.trace(module, given, labels=[list("abcdef")], target_labels=[list("vwxyz")] * 2)
    assert trace.batch.tokens == (tuple("abcdef"),) * 2
    assert trace.batch.decoder is not None
    assert trace.batch.decoder.tokens == (tuple("vwxyz"),) * 2
    assert [str(call.stack) for call in trace.calls] == ["encoder", "decoder", "cross"]
    one = maskviz.trace(seeded(Attention), vectors(), labels=list("abcdef"))
    assert one.batch.tokens[1] == tuple("abcdef")


def test_ids_among_the_inputs_are_ids_of_the_batch_and_outputs_of_their_number_are_logits() -> None:
    trace = maskviz.trace(seeded(LanguageModel), {"ids": IDS})
    assert np.array_equal(trace.batch.ids, IDS.numpy())
    assert trace.outputs is not None and trace.outputs.kind.value == "next token"
    logits = seeded(LanguageModel)(IDS).detach()
    truth = functional.cross_entropy(logits[0, :-1], IDS[0, 1:], reduction="none")
    assert trace.outputs.token_loss is not None
    np.testing.assert_allclose(trace.outputs.token_loss[0, 1:], truth.numpy(), atol=1e-5)


def test_importance_and_pruning_silence_the_heads_of_a_module() -> None:
    model = seeded(LanguageModel)
    ranking = maskviz.importance(model, {"ids": IDS})
    changes = ranking.importance.effects.changes[ranking.importance.measure]
    plain = maskviz.trace(model, {"ids": IDS})
    for number, site in enumerate(ranking.importance.sites):
        silenced = maskviz.trace(model, {"ids": IDS}, head_mask=f"{site.layer}:{site.heads[0]}")
        for row, kept in ((0, 6), (1, 4)):
            losses = [np.nanmean(one.outputs.token_loss[row, 1:kept]) for one in (plain, silenced)]  # type: ignore[union-attr,index]
            assert changes[row, number] == pytest.approx(losses[1] - losses[0], abs=2e-5)
    curve = maskviz.prune(model, {"ids": IDS}, keep=0.5, random=1)
    assert curve.mask is not None
    assert sum(int((gates == 0).sum()) for gates in curve.mask.gates.values()) == HEADS


@pytest.mark.parametrize("how", [{"method": "gradient"}, {"ablation": "mean"}])
def test_what_a_module_cannot_be_asked_is_said(how: Mapping[str, Any]) -> None:
    with pytest.raises(maskviz.MaskvizError, match="models of transformers"):
        maskviz.importance(seeded(LanguageModel), {"ids": IDS}, **how)


def test_two_modules_are_compared_on_the_same_inputs() -> None:
    fused, by_hand = Attention("fused"), Attention("by hand")
    by_hand.load_state_dict(fused.state_dict())
    found = maskviz.diff(fused, by_hand, {"x": vectors()})
    assert not found
    assert found.diff.outputs is not None and found.diff.outputs.largest < 1e-6


INVERTED = {"src": vectors(), "src_key_padding_mask": ~PADDING}
SHOWN = torch.where(PADDING[..., None], 0.0, vectors())
TRIANGLE = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
OF_ROWS = torch.zeros(ROWS, LENGTH, LENGTH, dtype=torch.bool)
OF_ROWS[1, :, 4:] = True  # blocked, as torch's modules have it


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ({"src": vectors(), "src_key_padding_mask": PADDING}, set()),
        (INVERTED, {"T1"}),
        ({"src": vectors(), "mask": ~TRIANGLE}, set()),
        ({"src": vectors(), "mask": TRIANGLE}, {"T1", "N1", "N2"}),
        ({"src": vectors(), "mask": TRIANGLE.float()}, {"T2", "N2"}),
        ({"src": vectors(), "mask": OF_ROWS.repeat_interleave(HEADS, 0)}, set()),
        ({"src": vectors(), "mask": OF_ROWS.repeat(HEADS, 1, 1)}, {"T5"}),
        ({"src": SHOWN}, {"P10"}),
        ({"src": SHOWN, "src_key_padding_mask": PADDING}, set()),
    ],
)
def test_a_check_finds_what_is_wrong_with_masks_and_lets_right_ones_pass(
    encoder: nn.Module, given: Mapping[str, Any], rules: set[str]
) -> None:
    assert {one.rule for one in maskviz.check(encoder, given)} == rules


@pytest.mark.parametrize(
    ("form", "rules"), [("[:, None]", {"T6"}), ("[:, None, None]", set()), ("inverted", {"T1", "N1"})]
)
def test_masks_that_scores_are_filled_by_are_asked_as_fused_ones_are(form: str, rules: set[str]) -> None:
    """A batch as large as the number of heads takes a mask without a head axis for one of heads."""
    keep = torch.ones(HEADS, LENGTH, dtype=torch.bool)
    keep[1, 4:] = keep[2, 3:] = False
    masks = {
        "[:, None]": keep[:, None].expand(HEADS, LENGTH, LENGTH).clone(),
        "[:, None, None]": keep[:, None, None],
        "inverted": ~keep[:, None, None],
    }
    given = {"x": vectors(rows=HEADS), "mask": masks[form]}
    assert {one.rule for one in maskviz.check(seeded(lambda: Attention("by hand")), given)} == rules


def test_a_layer_that_sees_the_next_token_is_found() -> None:
    assert not maskviz.check(seeded(LanguageModel), {"ids": IDS})
    found = maskviz.check(seeded(lambda: LanguageModel(leaking=True)), {"ids": IDS})
    assert {one.rule for one in found} == {"L1", "P10"}


def test_what_is_meant_decides_where_nothing_else_says_it(encoder: nn.Module) -> None:
    assert not maskviz.check(encoder, {"src": vectors()})
    assert [one.rule for one in maskviz.check(encoder, {"src": vectors()}, meant="causal")] == ["T11"]


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_virtual_tokens_of_prompt_and_prefix_tuning_have_names_and_a_role() -> None:
    peft = pytest.importorskip("peft")
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes: Any = {"num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    for kind in (peft.PromptTuningConfig, peft.PrefixTuningConfig):
        base = LlamaForCausalLM(LlamaConfig(vocab_size=50, hidden_size=16, intermediate_size=32, **sizes))
        model = peft.get_peft_model(base, kind(task_type="CAUSAL_LM", num_virtual_tokens=3))
        trace = maskviz.trace(model, {"input_ids": IDS, "attention_mask": (IDS > 0).long()})
        assert trace.batch.tokens[0] == ("virtual 0", "virtual 1", "virtual 2", *map(str, IDS[0].tolist()))
        assert trace.batch.roles[0][:4] == (*[Role.VIRTUAL] * 3, Role.TEXT)
        assert str(trace.calls[0].mask.rule) == "causal ∧ padding"
        assert trace.drift == 0


class Raising(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("no such thing")


@pytest.mark.parametrize(
    ("module", "given", "says"),
    [
        (Raising(), vectors(), "Raising fails on these inputs: ValueError: no such thing"),
        (nn.Linear(WIDTH, 2), vectors(), "no attention was heard in Linear: Linear ran"),
        (Attention(), {"y": vectors()}, "takes no 'y'"),
        (Attention(), {}, "missing a required argument: 'x'"),
        (Attention(), None, "there are no inputs for Attention"),
        (Attention(), "a text", "there is no tokenizer for the text"),
        (Attention(), {"x": [[1.0, 2.0], [3.0]]}, "x is no array of numbers"),
        (Attention(), {"x": vectors().to("meta")}, "x is on meta, the module on cpu"),
    ],
)
def test_wrong_inputs_are_one_line_that_says_whose_fault_it_is(module: nn.Module, given: Any, says: str) -> None:
    with pytest.raises(maskviz.MaskvizError) as raised:
        maskviz.trace(module, given)
    assert says in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "cpu"}, "device= is for models of transformers"),
        ({"past": 2}, "past= is for models of transformers"),
        ({"labels": [["a"]]}, "labels= has 1 x 1 names, there are 2 x 6 positions"),
        ({"labels": "abcdef"}, "labels= are no strings"),
        ({"num_heads": 7}, "not of 7 heads"),
        ({"batch_size": 0}, "batch_size=0 is out of range"),
        ({"head_mask": "5:0"}, "5"),
    ],
)
def test_wrong_options_are_refused(options: Mapping[str, Any], says: str) -> None:
    block = seeded(lambda: Attention("by hand"))
    with pytest.raises(maskviz.MaskvizError) as raised:
        maskviz.trace(block, vectors(), **options)
    assert says in raised.value.message


def test_an_option_of_modules_beside_a_model_by_name_is_refused() -> None:
    with pytest.raises(maskviz.MaskvizError, match="num_heads= is for modules of your own"):
        maskviz.trace("demo:bert", "A cat", num_heads=2)


def test_a_scripted_module_is_refused_and_a_compiled_one_is_run_as_it_is_written() -> None:
    block = seeded(Attention)
    scripting: Any = torch.jit.trace
    with pytest.raises(maskviz.MaskvizError, match=r"scripted by torch\.jit"):
        maskviz.trace(scripting(block, vectors()), vectors())
    trace = maskviz.trace(torch.compile(block), vectors())
    assert "torch.compile" in trace.notes[0]
    assert np.array_equal(trace.calls[0].pattern, maskviz.trace(block, vectors()).calls[0].pattern)  # type: ignore[arg-type]


class Step(Attention):
    """The last two tokens ask, all are in the cache."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        query, key, value = (
            part.view(*x.shape[:2], HEADS, -1).transpose(1, 2) for part in self.projections(x).split(WIDTH, dim=-1)
        )
        seen = torch.ones(2, x.shape[1], dtype=torch.bool).tril(x.shape[1] - 2)
        mixed = functional.scaled_dot_product_attention(query[:, :, -2:], key, value, attn_mask=seen)
        put_out: torch.Tensor = self.output(mixed.transpose(1, 2).reshape(len(x), 2, WIDTH))
        return put_out


def test_heads_of_a_decode_step_are_silenced_and_their_change_is_of_the_tokens_that_ask() -> None:
    step = seeded(Step)
    before = step(vectors())
    trace = maskviz.trace(step, vectors(), head_mask="0:1")
    with torch.no_grad():
        step.output.weight[:, WIDTH // HEADS : 2 * WIDTH // HEADS] = 0
    after = step(vectors())
    expected = ((after - before).norm(dim=-1) / before.norm(dim=-1)).mean(dim=-1)
    assert trace.change is not None
    found = [row.relative_norm for row in trace.change.hidden]
    assert found == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_module_whose_parameters_no_call_has_made_yet_is_refused_until_one_has() -> None:
    lazy = nn.Sequential(nn.LazyLinear(WIDTH), seeded(Attention))
    with pytest.raises(UsageError, match=r"0\.weight gets its shape from the first call"):
        maskviz.trace(lazy, vectors())
    lazy(vectors())
    assert len(maskviz.trace(lazy, vectors()).calls) == 1


class Both(nn.Module):
    """Padding hidden as key and as query, in two layers; `mended` puts zeros for what is no number."""

    def __init__(self, mended: bool) -> None:
        super().__init__()
        self.mended = mended

    def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            seen = keep[:, None] & keep[:, :, None]
            weights = (x @ x.mT).masked_fill(~seen, -torch.inf).softmax(-1)
            x = x + (weights.nan_to_num(0.0) if self.mended else weights) @ x
        return x


@pytest.mark.parametrize("mended", [False, True])
def test_queries_that_see_nothing_are_found_where_their_weights_are_no_numbers(mended: bool) -> None:
    given = {"x": vectors(), "keep": ~PADDING}
    found = [one.rule for one in maskviz.check(Both(mended), given)]
    assert bool(Both(mended)(**given).isnan().any()) is not mended
    assert found == ([] if mended else ["N1"])


@pytest.mark.parametrize("leaking", [False, True])
def test_a_source_as_long_as_the_target_is_no_later_token_of_it(leaking: bool) -> None:
    model = seeded(lambda: nn.Transformer(WIDTH, HEADS, 1, 2, 32, batch_first=True))
    given = {"src": vectors(), "tgt": vectors() + 1, "tgt_mask": TRIANGLE_OF_FLOATS}
    if leaking:
        model.decoder.layers[1].register_forward_hook(lambda _, given, output: output + given[0].mean(1, keepdim=True))
    assert [one.rule for one in maskviz.check(model, given)] == (["L1"] if leaking else [])


TRIANGLE_OF_FLOATS = nn.Transformer.generate_square_subsequent_mask(LENGTH)


class Translator(nn.Module):
    """Attention of one's own to a source that is as long as the target: no call says that it is another's."""

    def __init__(self, leaking: bool) -> None:
        super().__init__()
        self.own, self.leaking = Attention("by hand"), leaking

    def forward(self, src: torch.Tensor, tgt: torch.Tensor) -> torch.Tensor:
        tgt = tgt + self.own(tgt)
        tgt = tgt + (tgt @ src.mT).softmax(-1) @ src
        return tgt + tgt.mean(1, keepdim=True) if self.leaking else tgt


@pytest.mark.parametrize("leaking", [False, True])
def test_attention_by_hand_to_a_source_as_long_as_the_target_is_no_leak(leaking: bool) -> None:
    model = seeded(lambda: Translator(leaking))
    given = {"src": vectors(), "tgt": vectors() + 1}
    assert [one.rule for one in maskviz.check(model, given)] == (["L1"] if leaking else [])
