"""The zero-shot experiment of CLIP's README on CIFAR-100, from a local copy of the data set.

    python examples/cifar100.py cifar-100-binary
    python examples/cifar100.py cifar-100-binary --all
    python examples/cifar100.py cifar-100-binary --export photos/ && clipcli eval photos/

The first prints the five labels nearest to photograph 3637 of the test set (openai/CLIP's README:
snake, 65.31 %, with ViT-B/32), the second the accuracy over the whole test set, the third writes
it as a folder for each label. The folder is the data set's binary version (test.bin and
fine_label_names.txt); the Python version is a pickle, which would be executed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import clipcli
from clipcli.evaluation.metrics import wilson_interval

if TYPE_CHECKING:
    import torch

N_SIDE_PX = 32
RECORD_BYTES = 2 + 3 * N_SIDE_PX**2  # coarse label, fine label, a plane each of red, green, blue
N_AT_ONCE = 100


@dataclass(frozen=True)
class Cifar100:
    """photos: uint8 [n, 32, 32, 3]; labels: int [n], into `names`."""

    photos: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: list[str]


def read(folder: Path) -> Cifar100:
    """The test set. Ends the run, saying why, where the folder does not hold it."""
    try:
        names = (folder / "fine_label_names.txt").read_text("utf-8").split()
        data = np.fromfile(folder / "test.bin", dtype=np.uint8)
    except OSError as error:
        raise SystemExit(
            f"{error.filename}: {error.strerror}; expected CIFAR-100's binary version, from"
            " https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
        ) from error
    if not len(data) or len(data) % RECORD_BYTES:
        raise SystemExit(
            f"{folder}/test.bin: {len(data):,} bytes; expected a multiple of {RECORD_BYTES:,}"
        )
    records = data.reshape(-1, RECORD_BYTES)
    labels = records[:, 1].astype(np.int64)
    if labels.max() >= len(names):
        raise SystemExit(
            f"{folder}/test.bin: label {labels.max()} and only {len(names)} names in"
            " fine_label_names.txt"
        )
    planes = records[:, 2:].reshape(-1, 3, N_SIDE_PX, N_SIDE_PX)
    return Cifar100(planes.transpose(0, 2, 3, 1), labels, names)


def probabilities(
    model: clipcli.CLIP,
    preprocess: clipcli.ImageTransform,
    photos: NDArray[np.uint8],
    names: list[str],
) -> Iterator[torch.Tensor]:
    """For each photograph one probability a label, [n_labels], in the README's own lines."""
    import torch  # takes a second, and a wrong folder is told of without it

    device = next(model.parameters()).device
    with torch.inference_mode():
        text_inputs = clipcli.tokenize([f"a photo of a {name}" for name in names]).to(device)
        text_features = model.encode_text(text_inputs)
        text_features /= text_features.norm(dim=-1, keepdim=True)
        scale = model.logit_scale.exp()  # 100, which is what the README writes
        for start in range(0, len(photos), N_AT_ONCE):
            pictures = [Image.fromarray(photo) for photo in photos[start : start + N_AT_ONCE]]
            image_input = torch.stack([preprocess(picture) for picture in pictures]).to(device)
            image_features = model.encode_image(image_input)
            image_features /= image_features.norm(dim=-1, keepdim=True)
            yield from (scale * image_features @ text_features.T).softmax(dim=-1)


def export(cifar: Cifar100, folder: Path) -> None:
    """Every photograph as a PNG in the folder of its label."""
    for name in cifar.names:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, (photo, label) in enumerate(zip(cifar.photos, cifar.labels, strict=True)):
        Image.fromarray(photo).save(folder / cifar.names[label] / f"{number:05}.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="ViT-B/32")
    parser.add_argument("--index", type=int, default=3637, help="of the photograph")
    parser.add_argument("--all", action="store_true", help="the accuracy over all photographs")
    parser.add_argument("--export", type=Path, metavar="FOLDER", help="write photographs, and end")
    options = parser.parse_args()
    cifar = read(options.folder)
    if options.export:
        export(cifar, options.export)
        return
    if not options.all and not 0 <= options.index < len(cifar.photos):
        parser.error(f"--index {options.index}: expected 0 to {len(cifar.photos) - 1}")
    model, preprocess = clipcli.load(options.model)
    if options.all:
        answers = probabilities(model, preprocess, cifar.photos, cifar.names)
        right = [
            int(one.argmax()) == label for one, label in zip(answers, cifar.labels, strict=True)
        ]
        low, high = wilson_interval(sum(right), len(right))
        print(
            f"{sum(right):,} of {len(right):,} right: {100 * sum(right) / len(right):.2f} %", end=""
        )
        print(f" (95 % interval {100 * low:.2f} to {100 * high:.2f})")
        return
    photo = cifar.photos[options.index : options.index + 1]
    (similarity,) = probabilities(model, preprocess, photo, cifar.names)
    values, indices = similarity.topk(min(5, len(cifar.names)))
    print("\nTop predictions:\n")
    for value, index in zip(values, indices, strict=True):
        print(f"{cifar.names[index]:>16s}: {100 * value.item():.2f}%")


if __name__ == "__main__":
    main()
