"""Folders of models that bring code of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

_NUMBERS: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}

# As gte-Qwen2 does: a decoder's code whose mask hides padding and nothing else.
BOTH_WAYS = """
import torch
from transformers import Qwen2ForCausalLM, Qwen2Model


class {prefix}Model(Qwen2Model):
    def forward(self, input_ids=None, attention_mask=None, **more):
        batch, length = input_ids.shape
        mask = torch.zeros(batch, 1, length, length)
        if attention_mask is not None:
            mask = mask.masked_fill(attention_mask[:, None, None, :] == 0, torch.finfo(torch.float32).min)
        return super().forward(input_ids=input_ids, attention_mask={{"full_attention": mask}}, **more)


class {prefix}ForCausalLM(Qwen2ForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        self.model = {prefix}Model(config)
        self.post_init()
"""
# As LLaDA does: an attention mask is taken and not used.
IGNORES_ITS_MASK = BOTH_WAYS.replace("if attention_mask is not None:", "if False:")
# As wrappers of more than one model do: nobody is told where the embeddings are.
HIDES_ITS_EMBEDDINGS = (
    BOTH_WAYS
    + """
    def get_input_embeddings(self):
        raise NotImplementedError
"""
)
_OWN_CONFIG = """
from transformers import Qwen2Config


class OwnConfig(Qwen2Config):
    model_type = "own_of_this_folder"
"""


def both_ways_folder(
    folder: Path,
    *,
    prefix: str = "Qwen2",
    known: bool = True,
    architecture: str = "",
    weights: bool = False,
    code: str = BOTH_WAYS,
) -> Path:
    """A Qwen2 whose code in the folder is bidirectional.

    Args:
        folder: Where to; made where it is not there.
        prefix: How its classes' names begin; "Qwen2" are names transformers has, too.
        known: Whether transformers knows the type; else its config is code of the folder as well.
        architecture: What the config says it was saved from; default: the class in the folder that predicts tokens.
        weights: Whether random weights are saved beside it.
        code: The code of its model.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder.mkdir(exist_ok=True, parents=True)
    if weights:
        torch.manual_seed(0)
        Qwen2ForCausalLM(Qwen2Config(**_NUMBERS)).save_pretrained(folder)
    auto_map = {
        "AutoModel": f"modeling_own.{prefix}Model",
        "AutoModelForCausalLM": f"modeling_own.{prefix}ForCausalLM",
    }
    config = _NUMBERS | {
        "model_type": "qwen2" if known else "own_of_this_folder",
        "architectures": [architecture or f"{prefix}ForCausalLM"],
        "auto_map": auto_map if known else {"AutoConfig": "configuration_own.OwnConfig", **auto_map},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_own.py").write_text(code.format(prefix=prefix))
    (folder / "configuration_own.py").write_text(_OWN_CONFIG)
    return folder
