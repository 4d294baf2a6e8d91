"""The modified ResNet image encoder with attention pooling (paper, 2.4).

Against the usual ResNet: a stem of three convolutions, anti-aliasing (an average pool before
every strided convolution), and attention instead of global average pooling.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.network.config import ResNetConfig


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a shortcut; strides are average pools."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or in_channels != out_channels:
            # the names are the checkpoints': the pool, which has no weights, is "-1"
            self.downsample = nn.Sequential(
                OrderedDict(
                    [
                        ("-1", nn.AvgPool2d(stride)),
                        ("0", nn.Conv2d(in_channels, out_channels, 1, bias=False)),
                        ("1", nn.BatchNorm2d(out_channels)),
                    ]
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(self.avgpool(out)))
        shortcut = x if self.downsample is None else self.downsample(x)
        activated: Tensor = F.relu(out + shortcut)
        return activated


class AttentionPool(nn.Module):
    """One attention whose only query is the mean of all places: [n, c, g, g] -> [n, embed_dim]."""

    def __init__(self, grid: int, channels: int, heads: int, embed_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.empty(grid**2 + 1, channels))
        self.k_proj = nn.Linear(channels, channels)
        self.q_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        places = x.flatten(start_dim=2).mT  # [n, grid * grid, channels]
        places = torch.cat([places.mean(dim=1, keepdim=True), places], dim=1)
        places = places + self.positional_embedding.to(places.dtype)
        q = self._split(self.q_proj(places[:, :1]))  # [n, heads, 1, channels / heads]
        k = self._split(self.k_proj(places))
        v = self._split(self.v_proj(places))
        mixed = F.scaled_dot_product_attention(q, k, v).flatten(start_dim=1)  # [n, channels]
        pooled: Tensor = self.c_proj(mixed)
        return pooled

    def _split(self, x: Tensor) -> Tensor:
        n, length, channels = x.shape
        return x.view(n, length, self.heads, channels // self.heads).transpose(1, 2)


class ModifiedResNet(nn.Module):
    """Pictures [n, 3, px, px] -> embeddings [n, embed_dim], not normalised."""

    def __init__(self, config: ResNetConfig, embed_dim: int) -> None:
        super().__init__()
        width = config.width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        self.layer1 = _stage(width, width, config.layers[0], stride=1)
        self.layer2 = _stage(width * 4, width * 2, config.layers[1], stride=2)
        self.layer3 = _stage(width * 8, width * 4, config.layers[2], stride=2)
        self.layer4 = _stage(width * 16, width * 8, config.layers[3], stride=2)
        self.attnpool = AttentionPool(config.px // 32, width * 32, config.heads, embed_dim)

    def forward(self, pictures: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(pictures)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.avgpool(F.relu(self.bn3(self.conv3(x))))  # [n, width, px / 4, px / 4]
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # [n, 32 * width, px / 32, ..]
        embeddings: Tensor = self.attnpool(x)
        return embeddings

    def initialize_parameters(self) -> None:
        """The last norms are zero, so that each block starts as its shortcut."""
        pool = self.attnpool
        std = pool.c_proj.in_features**-0.5
        nn.init.normal_(pool.positional_embedding, std=std)
        for linear in (pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj):
            nn.init.normal_(linear.weight, std=std)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                assert isinstance(block, Bottleneck)  # Sequential forgets it
                nn.init.zeros_(block.bn3.weight)


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    out_channels = channels * Bottleneck.expansion
    return nn.Sequential(
        Bottleneck(in_channels, channels, stride),
        *(Bottleneck(out_channels, channels) for _ in range(blocks - 1)),
    )
