"""Write a tiny seeded CLIP: `python examples/tiny_model.py tiny.safetensors`.

Its weights are random numbers, so its labels are noise. It has the published vocabulary, loads
in no time and runs every command without a download.
"""

import sys

import torch
from safetensors.torch import save_file

from clipcli.model.clip import CLIP
from clipcli.model.config import (
    ClipConfig,
    TextConfig,
    TransformerConfig,
    VisionTransformerConfig,
)

CONFIG = ClipConfig(
    embed_dim=64,
    vision=VisionTransformerConfig(
        px=64,
        patch_px=16,
        transformer=TransformerConfig(width=64, layers=2, heads=1, mlp_width=256),
    ),
    text=TextConfig(
        context_length=77,
        vocab_size=49_408,
        transformer=TransformerConfig(width=64, layers=2, heads=1, mlp_width=256),
    ),
)


def tiny_model(seed: int = 0) -> CLIP:
    """A CLIP of 3.5 million random parameters, the same for the same seed."""
    torch.manual_seed(seed)
    return CLIP(CONFIG).initialize_parameters()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/tiny_model.py FILE.safetensors")
    save_file(tiny_model().state_dict(), sys.argv[1])
