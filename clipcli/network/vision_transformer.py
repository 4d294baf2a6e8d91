"""The Vision Transformer image encoder (paper, 2.4; Dosovitskiy et al., 2020), with what SigLIP
(Zhai et al., 2023) and the Perception Encoder (Bolya et al., 2025) changed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clipcli.network.attention_pool import AttentionPool
from clipcli.network.config import VisionTransformerConfig
from clipcli.network.transformer import LayerNorm, Transformer

ROTARY_BASE = 10_000.0


class VisionTransformer(nn.Module):
    """Pictures [n, 3, px, px] -> embeddings [n, embed_dim], not normalised."""

    def __init__(self, config: VisionTransformerConfig, embed_dim: int) -> None:
        super().__init__()
        self.config = config
        width, side, eps = config.width, config.patch_px, config.transformer.eps
        n_tokens = (config.px // side) ** 2 + config.class_token
        self.conv1 = nn.Conv2d(3, width, side, stride=side, bias=config.patch_bias)
        self.class_embedding = nn.Parameter(torch.empty(width)) if config.class_token else None
        self.positional_embedding = nn.Parameter(torch.empty(n_tokens, width))
        self.ln_pre = LayerNorm(width, eps) if config.norm_first else None
        self.transformer = Transformer(config.transformer, causal=False)
        self.ln_post = LayerNorm(width, eps)
        self.pool = None if config.pool is None else AttentionPool(config.pool, width, eps)
        has_matrix, has_bias = config.projection != "none", config.projection == "linear"
        self.proj = nn.Parameter(torch.empty(width, embed_dim)) if has_matrix else None
        self.proj_bias = nn.Parameter(torch.empty(embed_dim)) if has_bias else None

    def forward(self, pictures: Tensor) -> Tensor:
        patches: Tensor = self.conv1(pictures)  # [n, width, grid, grid]
        x = patches.flatten(start_dim=2).mT  # [n, grid * grid, width]
        if self.class_embedding is not None:
            class_token = self.class_embedding.to(x.dtype).expand(len(x), 1, -1)
            x = torch.cat([class_token, x], dim=1)  # [n, 1 + grid * grid, width]
        x = x + self.positional_embedding.to(x.dtype)
        if self.ln_pre is not None:
            x = self.ln_pre(x)
        x = self.transformer(x, self.rotation(x.device))
        embeddings: Tensor
        embeddings = self.ln_post(x[:, 0]) if self.pool is None else self.pool(self.ln_post(x))
        if self.proj is not None:
            embeddings = embeddings @ self.proj
        return embeddings if self.proj_bias is None else embeddings + self.proj_bias

    def rotation(self, device: torch.device) -> Tensor | None:
        """Sines and cosines of each token's place: float32 [2, n_tokens, head_width].

        Half of a head is turned by the column, half by the row, counted from 1; a class token is
        not turned.
        """
        config = self.config
        if not config.rotary:
            return None
        n_angles = config.head_width // 4
        grid = torch.arange(1, config.px // config.patch_px + 1, device=device)
        rates = ROTARY_BASE ** (-torch.arange(n_angles, device=device) / n_angles)
        rows, columns = torch.meshgrid(grid, grid, indexing="ij")
        places = torch.stack([columns, rows], dim=-1).view(-1, 2, 1)
        angles = (places * rates).flatten(1).repeat_interleave(2, dim=1)
        if config.class_token:
            angles = torch.cat([torch.zeros_like(angles[:1]), angles])
        return torch.stack([angles.sin(), angles.cos()])

    def initialize_parameters(self) -> None:
        std = self.config.width**-0.5
        for parameter in (self.class_embedding, self.positional_embedding, self.proj):
            if parameter is not None:
                nn.init.normal_(parameter, std=std)
        if self.proj_bias is not None:
            nn.init.zeros_(self.proj_bias)
        self.transformer.initialize_parameters()
        if self.pool is not None:
            self.pool.initialize_parameters()
