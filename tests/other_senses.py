"""Tiny random models that read images or sound, alone or beside a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, PreTrainedModel

from maskviz import demo
from tests.image_text import image_processor

_VISION = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4} | {
    "image_size": 28,
    "patch_size": 7,
}
_SOUND: dict[str, Any] = {"vocab_size": 99, "num_mel_bins": 8, "max_source_positions": 16, "max_target_positions": 16}
_HALVES = {"encoder_layers": 3, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 2} | {
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 40,
}
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def _text(vocabulary: int) -> dict[str, Any]:
    return _IDS | {
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": vocabulary,
        "max_position_embeddings": 64,
        "sep_token_id": 3,
        "encoder_hidden_size": 32,
    }


def _both(vocabulary: int) -> dict[str, Any]:
    return {"text_config": _text(vocabulary), "vision_config": _VISION, "projection_dim": 16}


def _numbers(name: str, vocabulary: int) -> tuple[str, str, dict[str, Any]]:
    """Config class, model class and the numbers of the config."""
    models: dict[str, tuple[str, str, dict[str, Any]]] = {
        "vit": ("ViTConfig", "ViTForImageClassification", _VISION),
        "clip": ("CLIPConfig", "CLIPModel", _both(vocabulary)),
        "siglip": ("SiglipConfig", "SiglipModel", _both(vocabulary)),
        "blip": ("BlipConfig", "BlipForConditionalGeneration", _both(vocabulary)),
        "whisper": (
            "WhisperConfig",
            "WhisperForConditionalGeneration",
            _SOUND | _HALVES | _IDS | {"d_model": 32, "decoder_start_token_id": 1},
        ),
        "musicgen_decoder": (
            "MusicgenDecoderConfig",
            "MusicgenForCausalLM",
            {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 40}
            | {"num_codebooks": 4, "max_position_embeddings": 64, "pad_token_id": 98, "bos_token_id": 98},
        ),
        "wav2vec2": (
            "Wav2Vec2Config",
            "Wav2Vec2ForCTC",
            {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
            | {"conv_dim": (8, 8), "conv_stride": (5, 2), "conv_kernel": (10, 3), "num_feat_extract_layers": 2}
            | {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2},
        ),
    }
    return models[name]


# What reads nothing but images or sound, or needs them first.
UNREADABLE = {"vit": "images", "blip": "images with its text", "whisper": "sound", "wav2vec2": "sound"}
# What reads ids, and fails on ids alone.
NEEDS_IMAGE = ("clip", "siglip")


def tiny_senses(name: str, vocabulary: int = 99) -> PreTrainedModel:
    """A random model, the same every time."""
    config_name, class_name, numbers = _numbers(name, vocabulary)
    musicgen = transformers.models.musicgen.configuration_musicgen
    config = (getattr(transformers, config_name, None) or getattr(musicgen, config_name))(**numbers)
    torch.manual_seed(0)
    model: PreTrainedModel = getattr(transformers, class_name)(config)
    model.train(False)
    return model


def saved_with_processor(name: str, folder: Path) -> Path:
    """A model of images and text with its processor, as `save_pretrained` writes them."""
    tokenizer = AutoTokenizer.from_pretrained(demo.folder("bert"))
    tiny_senses(name, len(tokenizer)).save_pretrained(folder)
    size = {"height": 28, "width": 28}
    if name == "clip":
        made: Any = transformers.CLIPProcessor(
            image_processor("CLIPImageProcessor", size=size, crop_size=size), tokenizer
        )
    elif name == "blip":
        made = transformers.BlipProcessor(image_processor("BlipImageProcessor", size=size), tokenizer)
    else:
        made = image_processor("ViTImageProcessor", size=size)
    made.save_pretrained(folder)
    return folder
