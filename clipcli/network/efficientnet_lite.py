"""EfficientNet-Lite2 as an image encoder, its normalisations folded into the convolutions.

https://arxiv.org/abs/1905.11946, the "Lite" variant: no squeeze-and-excitation, ReLU6, a stem and
a head of fixed width. It ends in its ImageNet classifier; a picture's embedding is the mean of one
learned embedding for each class, weighted by the classifier's probabilities (ConSE,
https://arxiv.org/abs/1312.5650).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.network.config import EfficientNetLiteConfig

STEM_WIDTH, HEAD_WIDTH = 32, 1280


class Stage(NamedTuple):
    """Blocks alike: only the first changes width and takes the stride."""

    n_blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


# Lite0 with width times 1.1 and depth times 1.2, widths rounded to multiples of 8
LITE2 = (
    Stage(1, 3, 1, 1, 16),
    Stage(3, 3, 2, 6, 24),
    Stage(3, 5, 2, 6, 48),
    Stage(4, 3, 2, 6, 88),
    Stage(4, 5, 1, 6, 120),
    Stage(5, 5, 2, 6, 208),
    Stage(1, 3, 1, 6, 352),
)


class SamePaddingConv(nn.Conv2d):
    """A convolution with ceil(side / stride) pixels out; odd padding goes right and below."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(n_in, n_out, kernel, stride, padding=padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride > 1:
            height, width = (
                max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]
            )
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(x)


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow; added to the input where shapes allow."""

    def __init__(self, n_in: int, stage: Stage, stride: int) -> None:
        super().__init__()
        width = n_in * stage.expansion
        if stage.expansion > 1:
            self.expand = nn.Conv2d(n_in, width, 1)
        self.depthwise = SamePaddingConv(width, width, stage.kernel, stride, groups=width)
        self.project = nn.Conv2d(width, stage.width, 1)
        self.widens = stage.expansion > 1
        self.adds = stride == 1 and n_in == stage.width

    def forward(self, x: Tensor) -> Tensor:
        inside = F.relu6(self.expand(x)) if self.widens else x
        inside = self.project(F.relu6(self.depthwise(inside)))
        out: Tensor = x + inside if self.adds else inside
        return out


class EfficientNetLite(nn.Module):
    """Pictures [n, 3, px, px] -> embeddings [n, embed_dim], not normalised."""

    def __init__(self, config: EfficientNetLiteConfig, embed_dim: int) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.stem = SamePaddingConv(3, STEM_WIDTH, 3, stride=2)
        blocks: list[nn.Module] = []
        n_channels = STEM_WIDTH
        for stage in LITE2:
            for index in range(stage.n_blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(InvertedResidual(n_channels, stage, stride))
                n_channels = stage.width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Conv2d(n_channels, HEAD_WIDTH, 1)
        self.classifier = nn.Linear(HEAD_WIDTH, config.n_classes)
        self.class_embedding = nn.Parameter(torch.zeros(config.n_classes, embed_dim))

    def initialize_parameters(self) -> None:
        """Left as PyTorch makes them: it is not trained here."""

    def forward(self, pictures: Tensor) -> Tensor:
        # its small convolutions are faster with channels last, on every device
        x = F.relu6(self.stem(pictures.contiguous(memory_format=torch.channels_last)))
        x = F.relu6(self.head(self.blocks(x))).mean(dim=(2, 3))  # [n, HEAD_WIDTH]
        # float32: half precisions lose the small probabilities, those of the second guesses
        logits = self.classifier(x).float() / self.temperature
        embeddings: Tensor = logits.softmax(dim=-1) @ self.class_embedding.float()
        return embeddings
