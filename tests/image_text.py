"""Tiny random models that read text and images, one builder per model type."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoTokenizer, PreTrainedModel

from maskviz import demo

VOCABULARY = 99
IMAGE_TOKEN = 95

_TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_HYBRID = {"sliding_window": 4, "layer_types": ["full_attention", "sliding_attention", "sliding_attention"]}
_VISION: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 7,
    "projection_dim": 32,
}
_PALIGEMMA = {"vision_config": _VISION, "image_token_index": IMAGE_TOKEN, "projection_dim": 32, "hidden_size": 32}

# Name: (config class, model class, the numbers of the config).
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gemma3": (
        "Gemma3Config",
        "Gemma3ForConditionalGeneration",
        {"text_config": _TEXT | _HYBRID, "vision_config": _VISION, "mm_tokens_per_image": 4}
        | {"image_token_index": IMAGE_TOKEN, "boi_token_index": 96, "eoi_token_index": 97},
    ),
    "paligemma": (
        "PaliGemmaConfig",
        "PaliGemmaForConditionalGeneration",
        _PALIGEMMA | {"text_config": _TEXT | {"model_type": "gemma"}},
    ),
    "paligemma2": (
        "PaliGemmaConfig",
        "PaliGemmaForConditionalGeneration",
        _PALIGEMMA | {"text_config": _TEXT | _HYBRID | {"model_type": "gemma2"}},
    ),
    "llava": (
        "LlavaConfig",
        "LlavaForConditionalGeneration",
        {
            "text_config": _TEXT | {"model_type": "llama"},
            "vision_config": _VISION | {"model_type": "clip_vision_model"},
            "image_token_index": IMAGE_TOKEN,
            "vision_feature_layer": -1,
        },
    ),
}


def tiny_image_text(name: str, attention: str | None = None) -> PreTrainedModel:
    """A random model, the same every time; `attention` is the implementation it is built with, None for the default."""
    config_name, class_name, numbers = MODELS[name]
    torch.manual_seed(0)
    config = getattr(transformers, config_name)(**numbers)
    if attention is not None:
        config._attn_implementation = attention
        config.text_config._attn_implementation = attention
    build: Callable[..., PreTrainedModel] = getattr(transformers, class_name)
    model = build(config)
    model.train(False)
    return model


def saved_with_processor(name: str, folder: Path) -> Path:
    """The same model with a tokenizer and a processor, as `save_pretrained` writes them; images are 28 x 28 pixels."""
    tokens = {"image_token": "<image>", "boi_token": "<boi>", "eoi_token": "<eoi>"}
    tokenizer = AutoTokenizer.from_pretrained(demo.folder("gpt"), extra_special_tokens=tokens)
    config_name, class_name, numbers = MODELS[name]
    numbers = copy.deepcopy(numbers) | {"image_token_index": tokenizer.image_token_id}
    numbers["text_config"]["vocab_size"] = len(tokenizer)
    if name == "gemma3":
        numbers |= {"boi_token_index": tokenizer.boi_token_id, "eoi_token_index": tokenizer.eoi_token_id}
    torch.manual_seed(0)
    model = getattr(transformers, class_name)(getattr(transformers, config_name)(**numbers))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3.0)  # so that attention is not all flat
    model.save_pretrained(folder)
    _processor(name, tokenizer).save_pretrained(folder)
    return folder


def _processor(name: str, tokenizer: Any) -> Any:
    size = {"height": 28, "width": 28}
    if name == "gemma3":
        images = image_processor("Gemma3ImageProcessor", size=size)
        return transformers.Gemma3Processor(images, tokenizer, image_seq_length=4)
    if name == "llava":
        images = image_processor("CLIPImageProcessor", size=size, crop_size=size)
        return transformers.LlavaProcessor(
            images, tokenizer, patch_size=7, vision_feature_select_strategy="default", num_additional_image_tokens=1
        )
    images = image_processor("SiglipImageProcessor", size=size)
    images.image_seq_length = 16
    return transformers.PaliGemmaProcessor(images, tokenizer)


def image_processor(name: str, **numbers: Any) -> Any:
    """The class that works with pillow alone, by its name in this release."""
    return getattr(transformers, f"{name}Pil" if hasattr(transformers, f"{name}Pil") else name)(**numbers)


def picture(path: Path, seed: int = 0) -> Path:
    """A picture of 50 x 40 random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path
