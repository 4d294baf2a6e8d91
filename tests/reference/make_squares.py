"""Makes the squares of `preprocess/squares/`: what open_clip gives an image encoder, as 8-bit RGB.

    pip install "torch>=2.6,<2.14" open_clip_torch==3.3.0 Pillow
    python tests/reference/make_squares.py

The tests need none of these. `shortest` is CLIP's own rule, of which `preprocess/expected/` has
more cases. No picture here is longer than 16:1, from where on clipcli resizes in another order.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import open_clip
import PIL
import torch
from open_clip.transform import image_transform
from PIL import Image

PREPROCESS = Path(__file__).parent / "preprocess"
PX = 64
NAMES = (
    "rgb_1201x801.jpg",
    "rgb_223x400.png",
    "rgb_500x37.png",
    "rgb_37x500.png",
    "rgb_5x7.png",
    "grey.png",
    "grey_alpha.png",
    "rgba.png",
    "palette.png",
)


def make(name: str, rule: str, interpolation: str) -> None:
    transform = image_transform(
        PX,
        is_train=False,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        resize_mode=rule,
        interpolation=interpolation,
    )
    with Image.open(PREPROCESS / "images" / name) as picture:
        tensor = transform(picture)
    pixels = (tensor * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(PREPROCESS / "squares" / f"{name}.{rule}.{interpolation}.png")


if __name__ == "__main__":
    print(f"open_clip {open_clip.__version__}, torch {torch.__version__}, Pillow {PIL.__version__}")
    (PREPROCESS / "squares").mkdir(exist_ok=True)
    for case in itertools.product(NAMES, ("squash", "longest"), ("bicubic", "bilinear")):
        make(*case)
