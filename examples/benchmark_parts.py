"""The parts of a run, written out without clipcli's pipeline: run by benchmark.py.

    python examples/benchmark_parts.py decode LIST

Each part is a process of its own, since a process that is started by one that holds torch is
charged with that one's memory. Prints one JSON object; seconds are of the part alone.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

PX = 224
BATCH_SIZES = (8, 16, 32)
N_CORES = len(os.sched_getaffinity(0))
PROMPTS_AT_ONCE = 64


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Seconds by the clock, and CPU seconds of all threads."""
    start, cpu_start = time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
    }


def save_models(folder: str) -> dict[str, float]:
    """Random weights of a ViT-B/32, of a model that costs next to nothing, and the vocabulary."""
    import torch
    from safetensors.torch import save_file

    from clipcli.models.tokenizer import clip_tokenizer
    from clipcli.network.clip import CLIP
    from clipcli.network.config import (
        ClipConfig,
        TextConfig,
        TransformerConfig,
        VisionTransformerConfig,
    )

    configs = {
        "vit_b_32": ClipConfig(
            embed_dim=512,
            vision=VisionTransformerConfig(PX, 32, TransformerConfig(768, 12, 12, 3072)),
            text=TextConfig(77, 49_408, TransformerConfig(512, 12, 8, 2048)),
        ),
        "tiny": ClipConfig(
            embed_dim=512,
            vision=VisionTransformerConfig(32, 16, TransformerConfig(64, 1, 1, 256)),
            text=TextConfig(77, 49_408, TransformerConfig(64, 1, 1, 256)),
        ),
    }
    models = Path(folder)
    models.mkdir(parents=True, exist_ok=True)
    tokenizer = clip_tokenizer()  # its two tables are the two files that transformers reads
    (models / "vocab.json").write_text(json.dumps(tokenizer._ids))
    merges = "".join(f"{first} {second}\n" for first, second in tokenizer._ranks)
    (models / "merges.txt").write_text("#version: 0.2\n" + merges)
    for name, config in configs.items():
        torch.manual_seed(0)
        model = CLIP(config).initialize_parameters()
        save_file(model.state_dict(), models / f"{name}.safetensors")
    return {}


def decode(path_list: str) -> dict[str, float]:
    """Read, decode, resize and crop on all cores: JPEGs scaled down while they are decoded, to
    no less than twice the size that they are resized to, as clipcli does by default."""
    from PIL import Image

    def decode_one(path: str) -> None:
        with Image.open(path) as picture:
            scale = PX / min(picture.size)
            size = (round(picture.width * scale), round(picture.height * scale))
            picture.draft("RGB", (2 * size[0], 2 * size[1]))
            resized = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        left, top = (size[0] - PX) // 2, (size[1] - PX) // 2
        resized.crop((left, top, left + PX, top + PX)).tobytes()

    def decode_all() -> None:
        with ThreadPoolExecutor(N_CORES) as pool:
            list(pool.map(decode_one, paths))

    paths = Path(path_list).read_text().splitlines()
    return timed(decode_all)


def encode(checkpoint: str, precision: str, n_photos: str) -> dict[str, float | str]:
    """A bare torch loop over pictures that are ready as tensors, in the best of three batches.

    precision: as clipcli's, but for int8; "auto" becomes what clipcli chooses here, which is told.
    """
    import torch

    from clipcli.models.checkpoint import checkpoint as checkpoints
    from clipcli.runtime.devices import DTYPES, choose_device, choose_precision

    chosen = choose_precision(precision, choose_device("cpu"))
    network = checkpoints.load(Path(checkpoint)).network.to_precision(DTYPES[chosen]).eval()
    pictures = torch.randn(max(BATCH_SIZES), 3, PX, PX)

    def encode_all(batch_size: int, n_pictures: int) -> Callable[[], None]:
        def loop() -> None:
            for start in range(0, n_pictures, batch_size):
                network.encode_image(pictures[: min(batch_size, n_pictures - start)])

        return loop

    with torch.inference_mode():
        rates = {}
        for batch_size in BATCH_SIZES:
            encode_all(batch_size, batch_size)()  # the first pass allocates
            rates[batch_size] = timed(encode_all(batch_size, 64))["seconds"]
        best = min(rates, key=rates.__getitem__)
        return {**timed(encode_all(best, int(n_photos))), "precision": chosen, "batch_size": best}


def encode_padded(checkpoint: str, precision: str, prompts_file: str) -> dict[str, float | str]:
    """Prompts padded to the context length, which is what encoding texts costs if done plainly."""
    import torch

    from clipcli.models.checkpoint import checkpoint as checkpoints
    from clipcli.models.tokenizer import tokenize
    from clipcli.runtime.devices import DTYPES, choose_device, choose_precision

    chosen = choose_precision(precision, choose_device("cpu"))
    network = checkpoints.load(Path(checkpoint)).network.to_precision(DTYPES[chosen]).eval()
    tokens = tokenize(Path(prompts_file).read_text().splitlines())  # [n_prompts, 77]

    def encode_all() -> None:
        for part in torch.split(tokens, PROMPTS_AT_ONCE):
            network.encode_text(part)

    with torch.inference_mode():
        network.encode_text(tokens[:8])  # the first pass allocates
        return {**timed(encode_all), "precision": chosen}


def save_embeddings(one: str, target: str, dtype: str, n_rows: str) -> dict[str, float]:
    """A file of random unit vectors with the one row of `one`, which clipcli wrote, inside."""
    header, query = Path(one).with_suffix(".jsonl").read_text().splitlines()
    n = int(n_rows)
    embedding = np.load(one)  # [1, d]
    rng = np.random.default_rng(0)
    rows = np.lib.format.open_memmap(target, "w+", dtype, (n, embedding.shape[1]))
    for start in range(0, n, 10_000):
        part = rng.standard_normal(rows[start : start + 10_000].shape, np.float32)
        rows[start : start + 10_000] = part / np.linalg.norm(part, axis=1, keepdims=True)
    rows[n // 3] = embedding[0]
    rows.flush()
    described = json.dumps({**json.loads(header), "dtype": dtype, "count": n})
    with Path(target).with_suffix(".jsonl").open("w") as file:
        file.write(described + "\n")
        for index in range(n):
            path = f'"photos/{index // 1000:04}/{index % 1000:03}.jpg"'
            file.write((query if index == n // 3 else path) + "\n")
    return {}


def search_plainly(file: str) -> dict[str, float]:
    """The ten nearest by NumPy alone, block by block over the mapped file, without paths."""
    rows = np.load(file, mmap_mode="r")
    query = rows[len(rows) // 3].astype(np.float32)

    def search() -> None:
        blocks = range(0, len(rows), 16_384)
        cosines = np.concatenate([rows[i : i + 16_384].astype(np.float32) @ query for i in blocks])
        np.argpartition(-cosines, 10)

    return timed(search)


def compare_lite(checkpoint: str) -> dict[str, object]:
    """Images a second of lite and of ViT-B/32, in turn, and the median of the ratios."""
    from clipcli import Encoder, tune_process

    tune_process()
    results: dict[str, object] = {}
    batch_size = max(BATCH_SIZES)
    for precision in ("fp32", "bf16"):
        encoders = [Encoder.open(name, precision=precision) for name in ("lite", checkpoint)]
        batches = [
            np.random.default_rng(0).integers(
                0, 256, (batch_size, encoder.preprocess.px, encoder.preprocess.px, 3), np.uint8
            )
            for encoder in encoders
        ]
        pairs = []
        for _ in range(6):
            pairs.append([])
            for encoder, batch in zip(encoders, batches, strict=True):
                start = time.perf_counter()
                encoder.encode_pixels(batch)
                pairs[-1].append(batch_size / (time.perf_counter() - start))
        del pairs[0]  # the first pass allocates
        lite, vit = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        results[precision] = {"lite": lite, "vit_b_32": vit, "ratio": ratio}
    return results


PARTS: dict[str, Callable[..., object]] = {
    part.__name__: part
    for part in (
        save_models,
        decode,
        encode,
        encode_padded,
        save_embeddings,
        search_plainly,
        compare_lite,
    )
}

if __name__ == "__main__":
    print(json.dumps(PARTS[sys.argv[1]](*sys.argv[2:])))
