"""The blocks of `transformer.py` and `attention_pool.py` as a CPU computes them fastest.

Their weights are prepacked, constants are moved into them (see cpu_transformer.py), and for short
sequences plain products are faster than PyTorch's fused attention.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.network.attention_pool import AttentionPool
from clipcli.network.transformer import ResidualAttentionBlock
from clipcli.runtime.int8_linear import Int8Linear
from clipcli.runtime.onednn_linear import Linear, OneDnnLinear

_QUICKGELU = 1.702
# of attention: 3 MB of bfloat16, which stay in the cache from one step to the next
_SCORES_AT_ONCE = 1_500_000
# 4,096 patches have 200 million, 2 GB with what is made of them; no published model's are cut, and
# sequences that are lose no time
_SCORES_OF_ONE = 20_000_000
# keys from which on a softmax in bfloat16 is faster, which adds up in float32 too
_LONG = 128


class Blocks:
    """A stack of blocks. of_one_token: of whose output one of each sequence is wanted; in_place:
    each is given up when it is laid out anew."""

    def __init__(
        self,
        resblocks: nn.ModuleList,
        dtype: torch.dtype,
        int8: bool,
        rotation: Tensor | None = None,
        of_one_token: bool = True,
        in_place: bool = False,
    ) -> None:
        self.blocks: list[_Block] = []
        self.last: _LastBlock | None = None
        for place, module in enumerate(resblocks, start=1):
            block = cast(ResidualAttentionBlock, module)
            if of_one_token and place == len(resblocks):
                self.last = _LastBlock(block, dtype, int8)
            else:
                self.blocks.append(_Block(block, dtype, int8, rotation))
            if in_place:
                block.to("meta")

    def of_all(self, x: Tensor) -> Tensor:
        """x: [n, length, width] -> [n * length, width]."""
        n, length, width = x.shape
        rows = x.view(n * length, width)
        for block in self.blocks:
            rows = block(rows, n, None)
        return rows

    def __call__(self, x: Tensor, places: Tensor, mask: Tensor | None = None) -> Tensor:
        """x: [n, length, width]; places: int64 [n], of the wanted tokens; mask: [length, length],
        added to the scores. Returns [n, width]."""
        n, length, width = x.shape
        rows = x.view(n * length, width)
        for block in self.blocks:
            rows = block(rows, n, mask)
        wanted = torch.arange(0, n * length, length) + places
        seen = None if mask is None else mask[places].view(n, 1, 1, length)
        assert self.last is not None
        return self.last.of(wanted, rows, n, seen)


class _Block:
    """`ResidualAttentionBlock`, on rows of tokens [n * length, width]."""

    # how many of q, k and v each product makes at once
    parts: tuple[int, ...] = (3,)

    def __init__(
        self,
        block: ResidualAttentionBlock,
        dtype: torch.dtype,
        int8: bool,
        rotation: Tensor | None = None,
    ) -> None:
        attention, mlp = block.attn, block.mlp
        width = block.ln_1.normalized_shape[0]
        self.heads, self.head_width = attention.heads, width // attention.heads
        self.activation = mlp.activation
        scale = _QUICKGELU if self.activation == "quickgelu" else 1.0
        make: type[Int8Linear | OneDnnLinear] = Int8Linear if int8 else OneDnnLinear

        weight = attention.in_proj_weight.float().clone()
        bias = attention.in_proj_bias.float().clone()
        for of_query in (weight[:width], bias[:width]):
            of_query *= self.head_width**-0.5
        self.rotation: _Rotation | None = None
        if rotation is not None:
            self.rotation = _Rotation(rotation, dtype)
            of_both = _Rotation.halves(2 * self.heads, self.head_width)
            weight[: 2 * width], bias[: 2 * width] = weight[of_both], bias[of_both]
        sizes = [n_parts * width for n_parts in self.parts]
        self.in_proj: list[Linear] = [
            make(*rows, dtype)
            for rows in zip(torch.split(weight, sizes), torch.split(bias, sizes), strict=True)
        ]
        self.out_proj: Linear = make(*_floats(attention.out_proj), dtype)
        self.ln_1, self.ln_2 = Norm(block.ln_1), Norm(block.ln_2)
        weight, bias = _floats(mlp.c_fc)
        self.c_fc: Linear = make(weight * scale, bias * scale, dtype)
        weight, bias = _floats(mlp.c_proj)
        weight = weight / scale
        self.c_proj: Linear = (
            Int8Linear(weight, bias, dtype, follows=self.activation)
            if int8
            else OneDnnLinear(weight, bias, dtype)
        )

    def __call__(self, x: Tensor, n: int, mask: Tensor | None) -> Tensor:
        (qkv,) = (linear(self.ln_1(x)) for linear in self.in_proj)
        q, k, v = self._heads(qkv, n)
        if self.rotation is not None:
            q, k = self.rotation(q), self.rotation(k)
        return self._mlp(self.out_proj.plus(attention(q, k, v, mask, x.dtype), x))

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
        return self._mlp(self.out_proj.plus(attention(q, k, v, mask, x.dtype), x[wanted]))


class _Rotation:
    """`transformer.rotated` with the two of each pair half a head apart, in fewer steps: products
    of q and k stay as they are when both have their columns in another order."""

    def __init__(self, rotation: Tensor, dtype: torch.dtype) -> None:
        """rotation: float32 [2, length, head_width], of neighbouring pairs."""
        self.sines, self.cosines = rotation[..., ::2].to(dtype)  # each [length, head_width / 2]

    @staticmethod
    def halves(n_heads: int, head_width: int) -> Tensor:
        """Old places of the columns of n_heads: int64 [n_heads * head_width]."""
        places = torch.arange(n_heads * head_width).view(n_heads, head_width // 2, 2)
        return places.transpose(1, 2).flatten()

    def __call__(self, x: Tensor) -> Tensor:
        """[n, heads, length, head_width] -> the same."""
        first, second = x.chunk(2, dim=-1)
        out = torch.empty(x.shape, dtype=x.dtype)
        into_first, into_second = out.chunk(2, dim=-1)
        torch.mul(first, self.cosines, out=into_first).addcmul_(second, self.sines, value=-1)
        torch.mul(second, self.cosines, out=into_second).addcmul_(first, self.sines)
        return out


class FastAttentionPool:
    """`AttentionPool` on rows of tokens [n * length, width] -> [n, width]."""

    def __init__(self, pool: AttentionPool, dtype: torch.dtype) -> None:
        width, attention = len(pool.probe), pool.attn
        self.heads, head_width = attention.heads, width // attention.heads
        weight, bias = attention.in_proj_weight.float(), attention.in_proj_bias.float()
        query = F.linear(pool.probe.float(), weight[:width], bias[:width]) * head_width**-0.5
        self.query = query.view(1, self.heads, 1, head_width).to(dtype)
        self.keys_and_values = OneDnnLinear(weight[width:], bias[width:], dtype)
        self.out_proj = OneDnnLinear(*_floats(attention.out_proj), dtype)
        self.ln, self.activation = Norm(pool.ln), pool.mlp.activation
        # the fused swish, which QuickGELU is made of, is not needed: no pool has it
        self.c_fc = OneDnnLinear(*_floats(pool.mlp.c_fc), dtype)
        self.c_proj = OneDnnLinear(*_floats(pool.mlp.c_proj), dtype)

    def __call__(self, x: Tensor, n: int) -> Tensor:
        k, v = (
            self.keys_and_values(x)
            .view(n, -1, 2, self.heads, self.query.shape[3])
            .permute(2, 0, 3, 1, 4)
        )
        mixed = attention(self.query.expand(n, -1, -1, -1), k, v, None, x.dtype)
        x = self.out_proj(mixed)
        return self.c_proj.plus(self.c_fc.activated(self.ln(x), self.activation), x)


class Norm:
    """Layer norm with float32 weights on rows of any precision: PyTorch adds up in float32."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        self.weight, self.bias, self.eps = norm.weight.float(), norm.bias.float(), norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


def _floats(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight [out, in] and bias [out] in float32."""
    return linear.weight.float(), linear.bias.float()


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dtype: torch.dtype) -> Tensor:
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
            if k.shape[2] < _LONG:
                shares = scores.softmax(dim=-1, dtype=torch.float32).to(v.dtype)
            else:
                shares = scores.softmax(dim=-1)
            mixed[some, rows] = torch.matmul(shares, v[some]).transpose(1, 2)
    return mixed.view(n * length, heads * head_width)
