"""One vector from many tokens: attention of a learned query (SigLIP; Zhai et al., 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.network.config import AttentionPoolConfig
from clipcli.network.transformer import MLP, Attention, LayerNorm


class AttentionPool(nn.Module):
    """Tokens [n, length, width] -> [n, width]."""

    def __init__(self, config: AttentionPoolConfig, width: int, eps: float) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(width))
        self.attn = Attention(width, config.heads)
        self.ln = LayerNorm(width, eps)
        self.mlp = MLP(config, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        heads = self.attn.heads
        weight, bias = self.attn.in_proj_weight, self.attn.in_proj_bias
        query = F.linear(self.probe.to(x.dtype), weight[:width], bias[:width])
        q = query.view(1, heads, 1, width // heads).expand(n, -1, -1, -1)
        kv = F.linear(x, weight[width:], bias[width:]).view(n, length, 2, heads, width // heads)
        k, v = kv.permute(2, 0, 3, 1, 4)  # each [n, heads, length, width / heads]
        mixed = F.scaled_dot_product_attention(q, k, v).reshape(n, width)
        x = self.attn.out_proj(mixed)
        x = x + self.mlp(self.ln(x))
        return x

    def initialize_parameters(self) -> None:
        width = len(self.probe)
        nn.init.normal_(self.probe, std=width**-0.5)
        nn.init.normal_(self.attn.in_proj_weight, std=width**-0.5)
        nn.init.normal_(self.attn.out_proj.weight, std=width**-0.5)
        nn.init.normal_(self.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(self.mlp.c_proj.weight, std=width**-0.5)
