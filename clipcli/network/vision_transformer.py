"""The Vision Transformer image encoder (paper, 2.4; Dosovitskiy et al., 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clipcli.network.config import VisionTransformerConfig
from clipcli.network.transformer import LayerNorm, Transformer


class VisionTransformer(nn.Module):
    """Pictures [n, 3, px, px] -> embeddings [n, embed_dim], not normalised."""

    def __init__(self, config: VisionTransformerConfig, embed_dim: int) -> None:
        super().__init__()
        width = config.transformer.width
        n_patches = (config.px // config.patch_px) ** 2
        self.conv1 = nn.Conv2d(3, width, config.patch_px, stride=config.patch_px, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(n_patches + 1, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(config.transformer, causal=False)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, embed_dim))

    def forward(self, pictures: Tensor) -> Tensor:
        patches = self.conv1(pictures)  # [n, width, grid, grid]
        tokens = patches.flatten(start_dim=2).mT  # [n, grid * grid, width]
        class_token = self.class_embedding.to(tokens.dtype).expand(len(tokens), 1, -1)
        x = torch.cat([class_token, tokens], dim=1)  # [n, 1 + grid * grid, width]
        x = x + self.positional_embedding.to(x.dtype)
        x = self.transformer(self.ln_pre(x))
        embeddings: Tensor = self.ln_post(x[:, 0]) @ self.proj
        return embeddings

    def initialize_parameters(self) -> None:
        for parameter in (self.class_embedding, self.positional_embedding, self.proj):
            nn.init.normal_(parameter, std=self.proj.shape[0] ** -0.5)
        self.transformer.initialize_parameters()
