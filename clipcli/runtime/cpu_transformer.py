"""The transformers of `vision_transformer.py` and `clip.py` as a CPU computes them fastest.

The same function of the same weights, in fewer and larger steps:

- the weights are prepacked for oneDNN (onednn_linear.py), or in int8 (int8_linear.py);
- QuickGELU(x) = swish(1.702 x) / 1.702, and oneDNN fuses swish into the product before it. So the
  constants go into the weights before and after, as do the mean and deviation of the pixels and
  the factor of attention's scores;
- the last block is computed only for the token of each sequence that becomes its embedding;
- for short sequences plain products are faster than PyTorch's fused attention.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.network.clip import CLIP
from clipcli.network.transformer import ResidualAttentionBlock
from clipcli.network.vision_transformer import VisionTransformer
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Activation
from clipcli.runtime.int8_linear import Int8Linear
from clipcli.runtime.onednn_linear import Linear, OneDnnLinear

_QUICKGELU = 1.702
_MIDDLE = 128  # of a byte: pixels minus 128 are small integers, which bfloat16 holds exactly
# of attention, whose scores would take 2 GB for one picture of 4,096 patches; no sequence of a
# published model is cut, and one that is loses no time
_SCORES_AT_ONCE, _SCORES_OF_ONE = 4_000_000, 20_000_000


class FastVisionTransformer:
    """Pixels uint8 [n, px, px, 3] -> embeddings [n, embed_dim] in `dtype`, not unit length.

    dtype: bfloat16 or float32. With `int8`, of all but the products of the blocks.
    """

    def __init__(
        self,
        visual: VisionTransformer,
        preprocess: PreprocessConfig,
        dtype: torch.dtype = torch.bfloat16,
        int8: bool = False,
    ) -> None:
        """visual: in float32, and not needed afterwards."""
        self.dtype = dtype
        deviations = 255 * torch.tensor(preprocess.std).view(3, 1, 1)
        means = 255 * torch.tensor(preprocess.mean).view(3, 1, 1)
        filters = visual.conv1.weight / deviations  # [width, 3, patch_px, patch_px]
        bias = (filters * (_MIDDLE - means)).sum(dim=(1, 2, 3))
        self.patch_px = visual.conv1.kernel_size[0]
        self.patch_embedding = OneDnnLinear(filters.permute(0, 2, 3, 1).flatten(1), bias, dtype)
        positions = visual.positional_embedding.clone()
        positions[0] += visual.class_embedding
        self.positions = positions.to(dtype)
        self.residual_dtype = torch.float32 if int8 else dtype
        self.ln_pre, self.ln_post = _Norm(visual.ln_pre), _Norm(visual.ln_post)
        self.blocks = _Blocks(visual.transformer.resblocks, dtype, int8)
        self.proj = OneDnnLinear(visual.proj.t(), None, dtype)

    def __call__(self, pixels: Tensor) -> Tensor:
        n, px, side = len(pixels), pixels.shape[1], self.patch_px
        grid = px // side
        patches = pixels.reshape(n, grid, side, grid, side, 3).transpose(2, 3)
        patches = patches.reshape(n * grid**2, side * side * 3).to(self.dtype).sub_(_MIDDLE)
        x = torch.empty(n, 1 + grid**2, self.positions.shape[1], dtype=self.dtype)
        x[:, 0] = self.positions[0]
        tokens = self.patch_embedding(patches).view(n, grid**2, -1)
        torch.add(tokens, self.positions[1:], out=x[:, 1:])
        x = self.ln_pre(x.to(self.residual_dtype))
        class_tokens = torch.zeros(n, dtype=torch.int64)
        x = self.blocks(x, class_tokens, mask=None)
        return self.proj(self.ln_post(x).to(self.dtype))


class FastText:
    """Token ids [n, length] -> embeddings bfloat16 [n, embed_dim], not unit length."""

    def __init__(self, model: CLIP) -> None:
        """model: in float32; of it, only the table of tokens is needed afterwards."""
        self.token_embedding = model.token_embedding
        self.positions = model.positional_embedding
        self.blocks = _Blocks(model.transformer.resblocks, torch.bfloat16, int8=False)
        self.ln_final = _Norm(model.ln_final)
        self.proj = OneDnnLinear(model.text_projection.t(), None, torch.bfloat16)

    def __call__(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        x = (self.token_embedding(tokens) + self.positions[:length]).to(torch.bfloat16)
        mask = torch.full((length, length), -torch.inf, dtype=torch.bfloat16).triu(1)
        # the end mark is the highest id of this vocabulary, so argmax finds the first one
        x = self.blocks(x, tokens.argmax(dim=1), mask)
        return self.proj(self.ln_final(x))


class _Blocks:
    """A stack of blocks, of whose output one token for each sequence is wanted."""

    def __init__(self, resblocks: nn.ModuleList, dtype: torch.dtype, int8: bool) -> None:
        typed = [cast(ResidualAttentionBlock, block) for block in resblocks]
        self.blocks = [_Block(block, dtype, int8) for block in typed[:-1]]
        self.last = _LastBlock(typed[-1], dtype, int8)

    def __call__(self, x: Tensor, places: Tensor, mask: Tensor | None) -> Tensor:
        """x: [n, length, width]; places: int64 [n], of the wanted tokens; mask: [length, length],
        added to the scores. Returns [n, width]."""
        n, length, width = x.shape
        rows = x.view(n * length, width)
        for block in self.blocks:
            rows = block(rows, n, mask)
        wanted = torch.arange(0, n * length, length) + places
        seen = None if mask is None else mask[places].view(n, 1, 1, length)
        return self.last.of(wanted, rows, n, seen)


class _Block:
    """`ResidualAttentionBlock`, on rows of tokens [n * length, width]."""

    # how many of q, k and v each product makes at once
    parts: tuple[int, ...] = (3,)

    def __init__(self, block: ResidualAttentionBlock, dtype: torch.dtype, int8: bool) -> None:
        attention, mlp = block.attn, block.mlp
        width = block.ln_1.normalized_shape[0]
        self.heads, self.head_width = attention.heads, width // attention.heads
        self.activation: Activation = "gelu" if isinstance(mlp.gelu, nn.GELU) else "quickgelu"
        scale = _QUICKGELU if self.activation == "quickgelu" else 1.0
        make: type[Int8Linear | OneDnnLinear] = Int8Linear if int8 else OneDnnLinear

        weight, bias = attention.in_proj_weight.clone(), attention.in_proj_bias.clone()
        for of_query in (weight[:width], bias[:width]):
            of_query *= self.head_width**-0.5
        sizes = [n_parts * width for n_parts in self.parts]
        self.in_proj: list[Linear] = [
            make(*rows, dtype)
            for rows in zip(torch.split(weight, sizes), torch.split(bias, sizes), strict=True)
        ]
        self.out_proj: Linear = make(attention.out_proj.weight, attention.out_proj.bias, dtype)
        self.ln_1, self.ln_2 = _Norm(block.ln_1), _Norm(block.ln_2)
        self.c_fc: Linear = make(mlp.c_fc.weight * scale, mlp.c_fc.bias * scale, dtype)
        weight, bias = mlp.c_proj.weight / scale, mlp.c_proj.bias
        self.c_proj: Linear = (
            Int8Linear(weight, bias, dtype, follows=self.activation)
            if int8
            else OneDnnLinear(weight, bias, dtype)
        )

    def __call__(self, x: Tensor, n: int, mask: Tensor | None) -> Tensor:
        (qkv,) = (linear(self.ln_1(x)) for linear in self.in_proj)
        q, k, v = self._heads(qkv, n)
        return self._mlp(self.out_proj.plus(_attention(q, k, v, mask, x.dtype), x))

    def _heads(self, x: Tensor, n: int) -> Tensor:
        """[n * length, parts * width] -> [parts, n, heads, length, head_width]."""
        n_parts = x.shape[1] // (self.heads * self.head_width)
        return x.view(n, -1, n_parts, self.heads, self.head_width).permute(2, 0, 3, 1, 4)

    def _mlp(self, x: Tensor) -> Tensor:
        return self.c_proj.plus(self.c_fc.activated(self.ln_2(x), self.activation), x)


class _LastBlock(_Block):
    """The last of a stack, for one token of each sequence."""

    parts = (1, 2)  # q is needed for that token alone

    def of(self, wanted: Tensor, x: Tensor, n: int, mask: Tensor | None) -> Tensor:
        """The rows `wanted` of the output, one of each sequence: [n, width]."""
        query, keys_and_values = self.in_proj
        normed = self.ln_1(x)
        (q,) = self._heads(query(normed[wanted]), n)
        k, v = self._heads(keys_and_values(normed), n)
        return self._mlp(self.out_proj.plus(_attention(q, k, v, mask, x.dtype), x[wanted]))


class _Norm:
    """Layer norm with float32 weights on rows of any precision: PyTorch adds up in float32."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dtype: torch.dtype) -> Tensor:
    """softmax(q k^T + mask) v. [n, heads, length, d] -> `dtype` [n * length of q, heads * d]."""
    n, heads, length, head_width = q.shape
    mixed = torch.empty(n, length, heads, head_width, dtype=dtype)
    step = max(1, _SCORES_AT_ONCE // (heads * length * k.shape[2]))
    n_rows = max(1, _SCORES_OF_ONE // (heads * k.shape[2]))
    for some in (slice(start, start + step) for start in range(0, n, step)):
        for rows in (slice(first, first + n_rows) for first in range(0, length, n_rows)):
            scores = torch.matmul(q[some, :, rows], k[some].mT)  # [n, heads, rows, length of k]
            if mask is not None:
                scores += mask[rows] if mask.dim() == 2 else mask[some]
            shares = scores.softmax(dim=-1, dtype=torch.float32).to(v.dtype)
            mixed[some, rows] = torch.matmul(shares, v[some]).transpose(1, 2)
    return mixed.view(n * length, heads * head_width)
