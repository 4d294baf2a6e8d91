"""The attention block and its stack, of the image and the text encoder (paper, 2.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.network.config import AttentionPoolConfig, TransformerConfig
from clipcli.records import Activation


class LayerNorm(nn.LayerNorm):
    """Layer norm in float32 whatever the precision around it: half precisions lose its mean."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


class QuickGELU(nn.Module):
    """The published models' approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """Pairs of neighbouring numbers turned by each token's angles (Su et al., 2021).

    x: [..., length, head_width]; rotation: [2, length, head_width], sines and cosines.
    """
    sines, cosines = rotation.to(x.dtype)
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).reshape(x.shape)
    out: Tensor = x * cosines + turned * sines
    return out


class Attention(nn.Module):
    """Multi-head self-attention; q, k and v come from one matrix, as in the checkpoints."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, causal: bool, rotation: Tensor | None = None) -> Tensor:
        n, length, width = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # [n, length, 3 * width]
        qkv = qkv.view(n, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [n, heads, length, width / heads]
        if rotation is not None:
            q, k = rotated(q, rotation), rotated(k, rotation)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        projected: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(n, length, width))
        return projected


def activation(name: Activation) -> nn.Module:
    """ "gelu_tanh" is the approximation by tanh, which SigLIP was trained with."""
    if name == "quickgelu":
        return QuickGELU()
    return nn.GELU(approximate="tanh" if name == "gelu_tanh" else "none")


class MLP(nn.Module):
    """Two linear layers around an activation."""

    def __init__(self, config: TransformerConfig | AttentionPoolConfig, width: int) -> None:
        super().__init__()
        self.activation = config.activation
        self.c_fc = nn.Linear(width, config.mlp_width)
        self.gelu = activation(config.activation)
        self.c_proj = nn.Linear(config.mlp_width, width)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.c_proj(self.gelu(self.c_fc(x)))
        return projected


class ResidualAttentionBlock(nn.Module):
    """Attention, then MLP, each on a normalised copy added back (pre-norm)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attn = Attention(config.width, config.heads)
        self.ln_1 = LayerNorm(config.width, config.eps)
        self.mlp = MLP(config, config.width)
        self.ln_2 = LayerNorm(config.width, config.eps)

    def forward(self, x: Tensor, causal: bool, rotation: Tensor | None = None) -> Tensor:
        x = x + self.attn(self.ln_1(x), causal, rotation)
        x = x + self.mlp(self.ln_2(x))
        return x


class Transformer(nn.Module):
    """[n, length, width] -> the same; `causal` lets a position see only what stands before it."""

    def __init__(self, config: TransformerConfig, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(config) for _ in range(config.layers))

    def forward(self, x: Tensor, rotation: Tensor | None = None) -> Tensor:
        """rotation: as `rotated` takes it."""
        for block in self.resblocks:
            x = block(x, self.causal, rotation)
        return x

    def initialize_parameters(self) -> None:
        """Residual outputs start smaller the deeper the stack, so that the sum keeps its scale."""
        for block in self.resblocks:
            assert isinstance(block, ResidualAttentionBlock)  # ModuleList forgets it
            width = block.mlp.c_fc.in_features
            output_std = width**-0.5 * (2 * len(self.resblocks)) ** -0.5
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=output_std)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=output_std)
