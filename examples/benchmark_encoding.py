"""Encoding alone, of vision transformers with random weights: run by benchmark.py.

    python examples/benchmark_encoding.py ROUNDS

As a command encodes on the CPU: in batches of its size, each core all layers for its share. In
every round each model encodes one batch in each precision, so that a slow spell meets all alike.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from benchmark_process import N_CORES, print_table
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from clipcli import tune_process
from clipcli.models.spec import N_FOR_A_CORE
from clipcli.network.config import (
    AttentionPoolConfig,
    TransformerConfig,
    VisionTransformerConfig,
)
from clipcli.network.vision_transformer import VisionTransformer
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Activation, Precision
from clipcli.runtime.image_encoder import open_image_encoder
from clipcli.runtime.process import keep_freed_memory

BASE = "ViT-B/32"
PRECISIONS: tuple[Precision, ...] = ("bf16", "int8")


def clip(px: int, activation: Activation) -> VisionTransformerConfig:
    return VisionTransformerConfig(px, 32, TransformerConfig(768, 12, 12, 3072, activation))


def siglip(px: int, patch_px: int, activation: Activation) -> VisionTransformerConfig:
    return VisionTransformerConfig(
        px,
        patch_px,
        TransformerConfig(768, 12, 12, 3072, activation, eps=1e-6),
        patch_bias=True,
        class_token=False,
        norm_first=False,
        pool=AttentionPoolConfig(12, 3072, activation),
        projection="none",
    )


PE_CORE_B = VisionTransformerConfig(
    224,
    16,
    TransformerConfig(768, 12, 12, 3072, "gelu"),
    rotary=True,
    pool=AttentionPoolConfig(8, 3072, "gelu"),
    projection="linear",
)
# by name: the image encoder and the width of its embeddings
MODELS = {
    BASE: (clip(224, "quickgelu"), 512),
    "ViT-B-32-256": (clip(256, "gelu"), 512),
    "SigLIP 2 B/32-256": (siglip(256, 32, "gelu_tanh"), 768),
    "SigLIP 2 B/16": (siglip(224, 16, "gelu"), 768),
    "PE-Core B": (PE_CORE_B, 1024),
}


def gflop_a_photo(config: VisionTransformerConfig, embed_dim: int) -> float:
    """Of all products of the plain network; ours leave out 7 % of ViT-B/32's, in the last block."""
    with torch.device("meta"):
        network = VisionTransformer(config, embed_dim)
        picture = torch.empty(1, 3, config.px, config.px)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(picture)
    gflop: float = counter.get_total_flops() / 1e9
    return gflop


def opened(
    config: VisionTransformerConfig, embed_dim: int, precision: Precision
) -> Callable[[NDArray[np.uint8]], object]:
    torch.manual_seed(0)
    network = VisionTransformer(config, embed_dim)
    network.initialize_parameters()
    network.requires_grad_(False).eval()
    pool, chosen = open_image_encoder(
        network, PreprocessConfig(config.px), torch.device("cpu"), precision, is_tried=True
    )
    if chosen != precision:
        raise SystemExit(f"{precision} cannot be computed here")
    return pool.encode


def main() -> None:
    n_rounds, n_photos = int(sys.argv[1]), N_FOR_A_CORE * N_CORES
    torch.set_num_threads(N_CORES)
    tune_process()
    encoders = {
        (name, precision): opened(*of, precision)
        for name, of in MODELS.items()
        for precision in PRECISIONS
    }
    keep_freed_memory()
    rng = np.random.default_rng(0)
    batches = {
        name: rng.integers(0, 256, (n_photos, config.px, config.px, 3), np.uint8)
        for name, (config, _) in MODELS.items()
    }
    gflop = {name: n_photos * gflop_a_photo(*of) for name, of in MODELS.items()}
    rates: dict[tuple[str, Precision], list[float]] = {key: [] for key in encoders}
    for number in range(1 + n_rounds):
        for (name, precision), encode in encoders.items():
            start = time.perf_counter()
            encode(batches[name])
            if number:  # the first pass allocates
                rate = gflop[name] / (time.perf_counter() - start)
                rates[name, precision].append(rate)

    rows = []
    for (name, precision), found in rates.items():
        spread = f"{min(found):.0f} to {max(found):.0f}"
        n_a_second = n_photos * median(found) / gflop[name]
        of_base = ratio(found, rates[BASE, precision])
        of_bf16 = None if precision == "bf16" else ratio(found, rates[name, "bf16"])
        rows.append((name, precision, n_a_second, median(found), spread, of_base, of_bf16))
    header = ("model", "precision", "images/s", "GFLOP/s", "from, to", f"to {BASE}", "to bf16")
    print_table(header, rows)


def ratio(ours: list[float], others: list[float]) -> float:
    """The median of the rounds' own ratios."""
    return median(one / other for one, other in zip(ours, others, strict=True))


if __name__ == "__main__":
    main()
