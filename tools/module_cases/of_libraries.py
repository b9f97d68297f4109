"""Models of other libraries, tiny and with random weights, each beside its own way to say where it looks."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from tools.module_cases.case import Built, Case, inputs_of, recorded, weights_of_modules

IMAGES = (2, 3, 32, 32)


def _numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _random(module: torch.nn.Module) -> torch.nn.Module:
    """In evaluation mode, with weights large enough that attention is no average."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for one in module.parameters():
            one.add_(torch.randn(one.shape, generator=generator) * (0.15 if one.ndim > 1 else 0.05))
    return module.eval()


def _paths(module: torch.nn.Module, kinds: str, then: str) -> tuple[str, ...]:
    return tuple(f"{path}.{then}" for path, part in module.named_modules() if type(part).__name__ in kinds.split())


# timm


def _timm(build: Callable[[Any], Any], kind: str, fused: bool) -> Built:
    import timm
    from timm.layers import set_fused_attn

    set_fused_attn(False)
    slow = _random(build(timm))
    set_fused_attn(fused, experimental=True)
    module = build(timm).eval() if fused else slow
    set_fused_attn(True)
    module.load_state_dict(slow.state_dict())
    images = _numbers(*IMAGES)
    dropped = [part for path, part in slow.named_modules() if path.endswith("attn_drop")]
    return Built(module, {"x": images}, lambda: inputs_of(dropped, partial(slow, images)), _paths(module, kind, "proj"))


def _vit(timm: Any) -> Any:
    return timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=5
    )


def _deit(timm: Any) -> Any:
    return timm.models.deit.VisionTransformerDistilled(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=5
    )


def _swin(timm: Any) -> Any:
    return timm.models.swin_transformer.SwinTransformer(
        img_size=32, patch_size=2, embed_dim=16, depths=(2, 2), num_heads=(2, 4), window_size=4, num_classes=5
    )


def _cait(timm: Any) -> Any:
    return timm.models.cait.Cait(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=5, depth_token_only=1
    )


def _timm_cases() -> Iterator[Case]:
    kinds = {"ViT": (_vit, "Attention"), "DeiT": (_deit, "Attention"), "Swin": (_swin, "WindowAttention")}
    for name, (build, kind) in kinds.items():
        for fused in (True, False):
            how = "fused" if fused else "unfused"
            yield Case("timm", f"{name}, {how}", "the input of attn_drop, unfused", partial(_timm, build, kind, fused))
    for fused in (True, False):
        how = "class attention fused" if fused else "unfused"
        yield Case(
            "timm",
            f"CaiT, {how}",
            "the input of attn_drop, unfused",
            partial(_timm, _cait, "TalkingHeadAttn ClassAttn", fused),
        )


# torchvision


def _torchvision_vit() -> Built:
    from torchvision.models.vision_transformer import VisionTransformer

    module = _random(
        VisionTransformer(
            image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=32, num_classes=5
        )
    )
    images = _numbers(*IMAGES)
    return Built(
        module,
        {"x": images},
        lambda: weights_of_modules(module, partial(module, images)),
        _paths(module, "MultiheadAttention", "out_proj"),
    )


def _torchvision_swin(name: str) -> Built:
    from torchvision.models import swin_transformer

    new = name == "v2"
    module = _random(
        swin_transformer.SwinTransformer(
            patch_size=[2, 2],
            embed_dim=16,
            depths=[2, 2],
            num_heads=[2, 4],
            window_size=[4, 4],
            num_classes=5,
            block=swin_transformer.SwinTransformerBlockV2 if new else None,
            downsample_layer=swin_transformer.PatchMergingV2 if new else swin_transformer.PatchMerging,
        )
    )
    images = _numbers(*IMAGES)

    def own() -> list[Any]:
        with torch.no_grad(), recorded(functional, "softmax", lambda result, *_, **__: result) as found:
            module(images)
        return found

    kind = f"ShiftedWindowAttention{'V2' if new else ''}"
    return Built(module, {"x": images}, own, _paths(module, kind, "proj"))


def _maxvit() -> Built:
    from torchvision.models.maxvit import MaxVit

    module = _random(
        MaxVit(
            input_size=(32, 32),
            stem_channels=8,
            partition_size=4,
            block_channels=[8, 16],
            block_layers=[1, 1],
            head_dim=4,
            stochastic_depth_prob=0.0,
            num_classes=5,
        )
    )
    images = _numbers(*IMAGES)

    def own() -> list[Any]:
        with torch.no_grad(), recorded(functional, "softmax", lambda result, *_, **__: result) as found:
            module(images)
        return [one.flatten(0, one.ndim - 4) for one in found]

    return Built(module, {"x": images}, own, _paths(module, "RelativePositionalMultiHeadAttention", "merge"))


def _torchvision_cases() -> Iterator[Case]:
    yield Case("torchvision", "ViT", "need_weights of its nn.MultiheadAttention", _torchvision_vit)
    for name in ("v1", "v2"):
        yield Case("torchvision", f"Swin {name}", "its own softmax", partial(_torchvision_swin, name))
    yield Case("torchvision", "MaxViT, windows and grids", "its own softmax", _maxvit)


# diffusers


def _unfused_scores(module: torch.nn.Module, run: Callable[[torch.nn.Module], Any]) -> list[Any]:
    """The weights of the same model with diffusers' processor that writes them out, [row, head, query, key]."""
    from diffusers.models import attention_processor

    slow: Any = copy.deepcopy(module)
    for part in slow.modules():
        if isinstance(part, attention_processor.Attention):
            part.set_processor(attention_processor.AttnProcessor())

    def with_heads(result: torch.Tensor, attention: Any, *_: Any, **__: Any) -> torch.Tensor:
        return result.reshape(-1, attention.heads, *result.shape[1:])

    with torch.no_grad(), recorded(attention_processor.Attention, "get_attention_scores", with_heads) as found:
        run(slow)
    return found


def _unet(*, fused: bool) -> Built:
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import AttnProcessor

    module: Any = _random(
        UNet2DConditionModel(
            sample_size=8,
            in_channels=3,
            out_channels=3,
            layers_per_block=1,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=12,
            attention_head_dim=2,
        )
    )
    if not fused:
        module.set_attn_processor(AttnProcessor())
    prompt = torch.ones(2, 7, dtype=torch.bool)
    prompt[1, 5:] = False
    inputs = {
        "sample": _numbers(2, 3, 8, 8),
        "timestep": torch.tensor([3, 5]),
        "encoder_hidden_states": _numbers(2, 7, 12, seed=1),
        "encoder_attention_mask": prompt,
    }
    paths = [path for path, part in module.named_modules() if type(part).__name__ == "Attention"]
    ran: list[str] = []
    for path in paths:
        module.get_submodule(path).register_forward_pre_hook(lambda *_, path=path: ran.append(path))
    with torch.no_grad():
        module(**inputs)
    for path in paths:
        module.get_submodule(path)._forward_pre_hooks.clear()
    return Built(
        module,
        inputs,
        lambda: _unfused_scores(module, lambda slow: slow(**inputs)),
        tuple(f"{path}.to_out.0" for path in ran),
    )


def _autoencoder() -> Built:
    from diffusers import AutoencoderKL

    module = _random(
        AutoencoderKL(
            block_out_channels=(8,),
            down_block_types=("DownEncoderBlock2D",),
            up_block_types=("UpDecoderBlock2D",),
            norm_num_groups=4,
        )
    )
    inputs = {"sample": _numbers(2, 3, 8, 8)}
    return Built(
        module,
        inputs,
        lambda: _unfused_scores(module, lambda slow: slow(**inputs)),
        _paths(module, "Attention", "to_out.0"),
    )


def _dit() -> Built:
    from diffusers import DiTTransformer2DModel

    module = _random(
        DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            sample_size=8,
            patch_size=2,
            num_embeds_ada_norm=10,
            norm_num_groups=4,
        )
    )
    inputs = {
        "hidden_states": _numbers(2, 4, 8, 8),
        "timestep": torch.tensor([3, 5]),
        "class_labels": torch.tensor([1, 2]),
    }
    return Built(
        module,
        inputs,
        lambda: _unfused_scores(module, lambda slow: slow(**inputs)),
        _paths(module, "Attention", "to_out.0"),
    )


def _written_out(result: Any, query: Any, key: Any, *_: Any, attn_mask: Any = None, **__: Any) -> Any:
    """The weights of a fused call by their documented meaning."""
    scores = query @ key.mT / query.shape[-1] ** 0.5
    return (scores if attn_mask is None else scores + attn_mask).softmax(-1)


def _flux() -> Built:
    from diffusers import FluxTransformer2DModel

    module = _random(
        FluxTransformer2DModel(
            patch_size=1,
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=8,
            axes_dims_rope=(4, 4, 8),
        )
    )
    inputs = {
        "hidden_states": _numbers(2, 9, 4),
        "encoder_hidden_states": _numbers(2, 5, 32, seed=1),
        "pooled_projections": _numbers(2, 8, seed=2),
        "timestep": torch.tensor([0.5, 0.7]),
        "img_ids": torch.zeros(9, 3),
        "txt_ids": torch.zeros(5, 3),
    }

    return _of_fused_calls(module, inputs)


def _of_fused_calls(module: torch.nn.Module, inputs: dict[str, Any]) -> Built:
    """A transformer of image and text in one, whose first block has a projection for each."""

    def own() -> list[Any]:
        with torch.no_grad(), recorded(functional, "scaled_dot_product_attention", _written_out) as found:
            module(**inputs)
        return found

    return Built(module, inputs, own, ("transformer_blocks.0.attn.to_out.0 transformer_blocks.0.attn.to_add_out",))


def _sd3() -> Built:
    from diffusers import SD3Transformer2DModel

    module = _random(
        SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=16,
            caption_projection_dim=16,
            pooled_projection_dim=8,
            out_channels=4,
        )
    )
    inputs = {
        "hidden_states": _numbers(2, 4, 8, 8),
        "encoder_hidden_states": _numbers(2, 5, 16, seed=1),
        "pooled_projections": _numbers(2, 8, seed=2),
        "timestep": torch.tensor([3, 5]),
    }
    return _of_fused_calls(module, inputs)


def _diffusers_cases() -> Iterator[Case]:
    scores = "get_attention_scores under AttnProcessor, unfused"
    for fused in (True, False):
        name = f"UNet2DConditionModel, own and over its padded prompt, {'fused' if fused else 'unfused'}"
        yield Case("diffusers", name, scores, partial(_unet, fused=fused))
    yield Case("diffusers", "AutoencoderKL", scores, _autoencoder)
    yield Case("diffusers", "DiTTransformer2DModel", scores, _dit)
    fused_calls = "softmax of the queries and keys of each fused call"
    yield Case("diffusers", "FluxTransformer2DModel", fused_calls, _flux)
    yield Case("diffusers", "SD3Transformer2DModel", fused_calls, _sd3)


# x-transformers


def _x_transformer(flash: bool, **options: Any) -> Built:
    from x_transformers import Decoder, TransformerWrapper

    def build(fused: bool) -> torch.nn.Module:
        torch.manual_seed(0)
        layers = Decoder(dim=24, depth=2, heads=3, attn_dim_head=8, attn_flash=fused, **options)
        return _random(TransformerWrapper(num_tokens=30, max_seq_len=16, attn_layers=layers))

    slow, module = build(False), build(flash)
    ids = torch.randint(1, 30, (2, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 5:] = False

    def own() -> list[Any]:
        with torch.no_grad():
            _, maps = slow(ids, mask=mask, return_attn=True)
        return list(maps)

    return Built(module, {"x": ids, "mask": mask}, own, _paths(module, "Attention", "to_out"))


def _x_cross() -> Built:
    from x_transformers import CrossAttender, Encoder

    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = Encoder(dim=24, depth=1, heads=3, attn_dim_head=8)
            self.reader = CrossAttender(dim=24, depth=1, heads=3, attn_dim_head=8)

        def forward(self, x: torch.Tensor, context: torch.Tensor, kept: Any = None) -> torch.Tensor:
            memory, first = self.encoder(context, return_hiddens=True)
            output, second = self.reader(x, context=memory, return_hiddens=True)
            if kept is not None:
                kept += [one.post_softmax_attn for one in (*first.attn_intermediates, *second.attn_intermediates)]
            return torch.as_tensor(output)

    torch.manual_seed(0)
    module = _random(Both())
    inputs = {"x": _numbers(2, 4, 24), "context": _numbers(2, 6, 24, seed=1)}

    def own() -> list[Any]:
        kept: list[Any] = []
        with torch.no_grad():
            module(**inputs, kept=kept)
        return kept

    return Built(module, inputs, own, _paths(module, "Attention", "to_out"))


def _x_cases() -> Iterator[Case]:
    truth = "return_attn=True"
    yield Case("x-transformers", "Decoder, flash", truth, partial(_x_transformer, True))
    yield Case("x-transformers", "Decoder, unfused", truth, partial(_x_transformer, False))
    yield Case(
        "x-transformers",
        "Decoder, rotary, 1 key head",
        truth,
        partial(_x_transformer, False, rotary_pos_emb=True, attn_one_kv_head=True),
    )
    yield Case("x-transformers", "Decoder, ALiBi", truth, partial(_x_transformer, False, alibi_pos_bias=True))
    yield Case("x-transformers", "Encoder and CrossAttender", "return_hiddens=True", _x_cross)


# sentence-transformers


def _sentences() -> Built:
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertConfig, BertModel, BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "mat", "dogs", "run"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.txt").write_text("\n".join(words), encoding="utf-8")
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(words),
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=32,
            max_position_embeddings=32,
        )
        BertModel(config).save_pretrained(folder)
        BertTokenizer(vocab_file=str(Path(folder, "vocab.txt"))).save_pretrained(folder)
        body = models.Transformer(folder)
        module = SentenceTransformer(modules=[body, models.Pooling(24)], device="cpu").eval()
    texts = ["the cat sat on the mat", "dogs run"]
    inputs = dict(module.tokenizer(texts, return_tensors="pt", padding=True))

    def own() -> list[Any]:
        slow: Any = copy.deepcopy(body.auto_model)
        slow.set_attn_implementation("eager")
        with torch.no_grad():
            return list(slow(**inputs, output_attentions=True).attentions)

    projections = tuple(path for path, _ in module.named_modules() if path.endswith("attention.output.dense"))
    return Built(module, texts, own, projections)


def _sentence_cases() -> Iterator[Case]:
    yield Case("sentence-transformers", "SentenceTransformer of two texts", "output_attentions=True, eager", _sentences)


# open_clip


def _clip() -> Built:
    from open_clip.model import CLIP

    torch.manual_seed(0)
    module = _random(
        CLIP(
            embed_dim=16,
            vision_cfg={"image_size": 32, "patch_size": 8, "width": 24, "layers": 2, "head_width": 8},
            text_cfg={"context_length": 9, "vocab_size": 50, "width": 16, "heads": 2, "layers": 2},
        )
    )
    ids = torch.randint(1, 50, (2, 9), generator=torch.Generator().manual_seed(0))
    inputs = {"image": _numbers(*IMAGES), "text": ids}
    return Built(
        module,
        inputs,
        lambda: weights_of_modules(module, lambda: module(**inputs)),
        tuple(f"visual.transformer.resblocks.{layer}.attn.out_proj" for layer in range(2)),  # its output is the image's
    )


def _clip_cases() -> Iterator[Case]:
    yield Case("open_clip", "CLIP, both towers", "need_weights of its nn.MultiheadAttention", _clip)


# einops


class _Rearranged(torch.nn.Module):
    """Rows and heads in one axis for the scores and apart for the values, as einops writes it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.of, self.out = torch.nn.Linear(12, 36), torch.nn.Linear(12, 12)

    def weights(self, x: torch.Tensor) -> Any:
        """[row, head, query, key], and values [row, head, token, width]."""
        from einops import einsum, rearrange

        query, key, value = rearrange(self.of(x), "b n (three h d) -> three b h n d", three=3, h=3)
        query, key = (rearrange(one, "b h n d -> (b h) n d") for one in (query, key))
        scores = einsum(query, key, "rows i d, rows j d -> rows i j") / 2
        return rearrange(scores.softmax(-1), "(b h) i j -> b h i j", h=3), value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from einops import einsum, rearrange

        mixed = einsum(*self.weights(x), "b h i j, b h j d -> b h i d")
        return torch.as_tensor(self.out(rearrange(mixed, "b h n d -> b n (h d)")))


def _rearranged() -> Built:
    module, x = _Rearranged().eval(), _numbers(2, 5, 12)

    def own() -> list[Any]:
        with torch.no_grad():
            return [module.weights(x)[0]]

    return Built(module, {"x": x}, own, ("out",))


def _einops_cases() -> Iterator[Case]:
    yield Case("einops", "rearrange and einsum", "the module's own weights", _rearranged)


CASES: dict[str, Callable[[], Iterator[Case]]] = {
    "timm": _timm_cases,
    "torchvision": _torchvision_cases,
    "diffusers": _diffusers_cases,
    "x_transformers": _x_cases,
    "sentence_transformers": _sentence_cases,
    "open_clip": _clip_cases,
    "einops": _einops_cases,
}
