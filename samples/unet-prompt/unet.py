"""The UNet of a picture generator, small and with random weights: its layers attend to a prompt."""

import os
import sys

import torch

sys.path.append(os.environ.get("MASKVIZ_LIBRARIES", ""))  # where the tests keep what maskviz does not need
from diffusers import UNet2DConditionModel


def build() -> torch.nn.Module:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,
        cross_attention_dim=32,
        norm_num_groups=8,
    )
