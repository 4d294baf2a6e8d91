"""Whether a model bears int8, told from a few fixed pictures of its own making."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from clipcli.runtime.forward import Tower

LEAST_COSINE = 0.99
_SEED = 0


def lowest_cosine(exact: Tower, tried: Tower, px: int) -> float:
    """The smallest cosine between what two towers on the CPU make of the same picture."""
    pixels = torch.from_numpy(fixed_pictures(px))
    with torch.inference_mode():
        return float((exact(pixels) * tried(pixels)).sum(dim=1).min())


def fixed_pictures(px: int) -> NDArray[np.uint8]:
    """uint8 [6, px, px, 3]: gradients, shapes on them, waves, grain; dark, light and colourful.

    Photographs are smooth with edges; noise alone would look like nothing a model has seen.
    """
    random = np.random.default_rng(_SEED)
    y, x = np.mgrid[0:px, 0:px] / px
    ramps = np.stack([x, y, 1 - x], axis=-1)
    waves = np.stack([np.sin(2 * np.pi * (2 + c) * (x + c * y / 3)) for c in range(3)], axis=-1)
    disc = (np.hypot(x - 0.4, y - 0.6) < 0.25)[..., None]
    bars = ((x * 8).astype(int) % 2 == 0)[..., None]
    grain = random.normal(size=(px, px, 3))
    pictures = [
        ramps,
        np.where(disc, [0.9, 0.2, 0.1], 0.3 + 0.4 * ramps),
        0.5 + 0.4 * waves,
        np.where(bars, 0.15, 0.1 + 0.1 * ramps) + 0.02 * grain,
        np.where(disc, 0.95, 0.7 + 0.2 * ramps) + 0.05 * grain,
        0.5 + 0.25 * grain,
    ]
    return np.clip(np.round(255 * np.stack(pictures)), 0, 255).astype(np.uint8)
