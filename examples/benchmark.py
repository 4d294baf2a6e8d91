"""How far `clipcli classify` is from what the machine allows, measured in one run.

    python examples/benchmark.py                 # 500 photographs of 400 x 300, ViT-B/32
    python examples/benchmark.py --memory        # also peak memory of 500 against 5,000
    python examples/benchmark.py --lite          # lite against ViT-B/32, encoding alone

The whole process is compared with its parts: encoding alone (a bare torch loop over tensors
that are ready), decoding alone (a bare Pillow loop on all cores) and start-up (the same command
over one photograph). The parts are written out here, without clipcli's pipeline. The weights
are random, which costs as much time as the published ones.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from clipcli.encoder import Encoder
from clipcli.model.clip import CLIP
from clipcli.model.config import (
    ClipConfig,
    TextConfig,
    TransformerConfig,
    VisionTransformerConfig,
)

VIT_B_32 = ClipConfig(
    embed_dim=512,
    vision=VisionTransformerConfig(224, 32, TransformerConfig(768, 12, 12, 3072)),
    text=TextConfig(77, 49_408, TransformerConfig(512, 12, 8, 2048)),
)
SOURCES = sorted((Path(__file__).parent / "photos").glob("*.jpg"))
BATCH_SIZE = 32


def make_photos(folder: Path, n_photos: int) -> list[Path]:
    """Crops of 400 x 300 from the example photographs, no two alike."""
    folder.mkdir()
    sources = [Image.open(path).convert("RGB") for path in SOURCES]
    rng = random.Random(0)
    paths = []
    for index in range(n_photos):
        source = sources[index % len(sources)]
        width = rng.randint(300, source.width)
        height = min(source.height, width * 3 // 4)
        left, top = rng.randint(0, source.width - width), rng.randint(0, source.height - height)
        path = folder / f"{index:05}.jpg"
        crop = source.crop((left, top, left + width, top + height)).resize((400, 300))
        crop.save(path, quality=90)
        paths.append(path)
    return paths


def encode_alone(model: CLIP, n_photos: int) -> float:
    """Seconds for `n_photos` random pictures that are ready as tensors."""
    pictures = torch.randn(BATCH_SIZE, 3, 224, 224)
    with torch.inference_mode():
        model.encode_image(pictures)  # the first pass allocates
        start = time.perf_counter()
        for index in range(0, n_photos, BATCH_SIZE):
            model.encode_image(pictures[: min(BATCH_SIZE, n_photos - index)])
        return time.perf_counter() - start


def decode_alone(paths: list[Path]) -> float:
    """Seconds to read, decode, resize and crop the photographs on all cores."""

    def decode(path: Path) -> None:
        picture = Image.open(path).convert("RGB")
        scale = 224 / min(picture.size)
        size = (round(picture.width * scale), round(picture.height * scale))
        picture.resize(size, Image.Resampling.BICUBIC).crop((0, 0, 224, 224)).tobytes()

    start = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(decode, paths))
    return time.perf_counter() - start


def classify(paths: list[Path], checkpoint: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of `clipcli classify` as a whole process."""
    command = [sys.executable, "-m", "clipcli", "classify", "-", "--labels", "dog,cat,tiger"]
    command += ["--model", str(checkpoint), "--quiet", "--batch-size", str(BATCH_SIZE)]
    names = "\n".join(map(str, paths)).encode()
    start = time.perf_counter()
    with tempfile.TemporaryFile() as listed:
        listed.write(names)
        listed.seek(0)
        process = subprocess.Popen(command, stdin=listed, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"clipcli classify failed with status {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def compare_lite(checkpoint: Path) -> None:
    """Print images a second of lite and of ViT-B/32, in turn, and the median of the ratios."""
    for precision in ("fp32", "bf16"):
        encoders = [Encoder.open(name, precision=precision) for name in ("lite", str(checkpoint))]
        batches = [
            np.random.default_rng(0).integers(
                0, 256, (BATCH_SIZE, encoder.preprocess.px, encoder.preprocess.px, 3), np.uint8
            )
            for encoder in encoders
        ]
        rates = []
        for _ in range(6):
            pair = []
            for encoder, batch in zip(encoders, batches, strict=True):
                start = time.perf_counter()
                encoder.encode_pixels(batch)
                pair.append(BATCH_SIZE / (time.perf_counter() - start))
            rates.append(pair)
        lite, vit = (statistics.median(column) for column in zip(*rates[1:], strict=True))
        ratio = statistics.median(a / b for a, b in rates[1:])
        print(f"{precision}: lite {lite:.1f}, ViT-B/32 {vit:.1f} images/s, ratio {ratio:.2f}")


def main() -> None:
    """Print the parts, the whole, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=500, help="how many photographs")
    parser.add_argument("--memory", action="store_true", help="peak memory of ten times as many")
    parser.add_argument("--lite", action="store_true", help="only compare lite with ViT-B/32")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "vit_b_32.safetensors"
        torch.manual_seed(0)
        model = CLIP(VIT_B_32).initialize_parameters().eval()
        save_file(model.state_dict(), checkpoint)
        if options.lite:
            compare_lite(checkpoint)
            return
        paths = make_photos(Path(folder) / "photos", options.photos)

        classify(paths[:1], checkpoint)  # the first start reads torch from the disk
        start_up, _ = classify(paths[:1], checkpoint)
        encode = encode_alone(model, len(paths))
        whole, peak_mb = classify(paths, checkpoint)
        encode = (encode + encode_alone(model, len(paths))) / 2  # before and after, the same drift
        decode = decode_alone(paths)

        limit = max(encode, decode) + start_up
        n_cores = os.cpu_count()
        print(f"{len(paths)} photographs of 400 x 300, ViT-B/32 in float32, {n_cores} cores")
        print(f"start-up       {start_up:8.2f} s")
        print(f"encode alone   {encode:8.2f} s  {len(paths) / encode:8.1f} images/s")
        print(f"decode alone   {decode:8.2f} s  {len(paths) / decode:8.1f} images/s")
        print(f"whole process  {whole:8.2f} s  {len(paths) / (whole - start_up):8.1f} images/s")
        allowed = 1.25 * max(encode, decode) + start_up
        print(f"whole / (larger part + start-up) {whole / limit:.2f}")
        print(f"whole / (1.25 * larger part + start-up) {whole / allowed:.2f}")
        if options.memory:
            more = make_photos(Path(folder) / "more", 10 * len(paths))
            _, more_mb = classify(more, checkpoint)
            print(f"peak memory    {peak_mb:8.0f} MB for {len(paths)} photographs")
            print(
                f"peak memory    {more_mb:8.0f} MB for {len(more)}, ratio {more_mb / peak_mb:.3f}"
            )


if __name__ == "__main__":
    main()
