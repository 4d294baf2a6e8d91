"""The transformers of `vision_transformer.py` and `clip.py` as a CPU computes them fastest.

The same function of the same weights, in fewer and larger steps:

- the weights are prepacked for oneDNN (onednn_linear.py), or in int8 (int8_linear.py);
- QuickGELU(x) = swish(1.702 x) / 1.702, and oneDNN fuses swish into the product before it. So the
  constants go into the weights before and after, as do the mean and deviation of the pixels and
  the factor of attention's scores;
- the last block is computed only for the token of each sequence that becomes its embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clipcli.network.clip import CLIP, text_places
from clipcli.network.vision_transformer import VisionTransformer
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.runtime.cpu_blocks import Blocks, FastAttentionPool, Norm
from clipcli.runtime.onednn_linear import OneDnnLinear

_MIDDLE = 128  # of a byte: pixels minus 128 are small integers, which bfloat16 holds exactly


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
        in_place: bool = False,
    ) -> None:
        """visual: in any precision. in_place: it is taken apart, so that its weights and these
        are never in memory as a whole together."""
        self.dtype = dtype
        deviations = 255 * torch.tensor(preprocess.std).view(3, 1, 1)
        means = 255 * torch.tensor(preprocess.mean).view(3, 1, 1)
        filters = visual.conv1.weight.float() / deviations  # [width, 3, patch_px, patch_px]
        bias = (filters * (_MIDDLE - means)).sum(dim=(1, 2, 3))
        if visual.conv1.bias is not None:
            bias += visual.conv1.bias.float()
        self.patch_px = visual.conv1.kernel_size[0]
        self.patch_embedding = OneDnnLinear(filters.permute(0, 2, 3, 1).flatten(1), bias, dtype)
        positions = visual.positional_embedding.float()
        self.n_class_tokens = 0
        if visual.class_embedding is not None:
            positions = positions.clone()
            positions[0] += visual.class_embedding.float()
            self.n_class_tokens = 1
        self.positions = positions.to(dtype)
        self.residual_dtype = torch.float32 if int8 else dtype
        self.ln_pre = None if visual.ln_pre is None else Norm(visual.ln_pre)
        self.ln_post = Norm(visual.ln_post)
        self.pool = None if visual.pool is None else FastAttentionPool(visual.pool, dtype)
        rotation = visual.rotation(torch.device("cpu"))
        of_one_token = visual.pool is None
        self.blocks = Blocks(
            visual.transformer.resblocks, dtype, int8, rotation, of_one_token, in_place
        )
        self.proj = None
        if visual.proj is not None:
            self.proj = OneDnnLinear(visual.proj.t(), visual.proj_bias, dtype)
        if in_place:
            visual.to("meta")

    def __call__(self, pixels: Tensor) -> Tensor:
        n, px, side = len(pixels), pixels.shape[1], self.patch_px
        grid, n_class_tokens = px // side, self.n_class_tokens
        pixels = pixels[:, : grid * side, : grid * side]  # where patches do not fill the picture
        patches = pixels.reshape(n, grid, side, grid, side, 3).transpose(2, 3)
        patches = patches.reshape(n * grid**2, side * side * 3).to(self.dtype).sub_(_MIDDLE)
        tokens = self.patch_embedding(patches).view(n, grid**2, -1)
        x = torch.empty(n, n_class_tokens + grid**2, self.positions.shape[1], dtype=self.dtype)
        x[:, :n_class_tokens] = self.positions[:n_class_tokens]
        torch.add(tokens, self.positions[n_class_tokens:], out=x[:, n_class_tokens:])
        x = x.to(self.residual_dtype)
        if self.ln_pre is not None:
            x = self.ln_pre(x)
        if self.pool is None:
            class_tokens = torch.zeros(n, dtype=torch.int64)
            x = self.ln_post(self.blocks(x, class_tokens)).to(self.dtype)
        else:
            x = self.pool(self.ln_post(self.blocks.of_all(x)).to(self.dtype), n)
        return x if self.proj is None else self.proj(x)


class FastText:
    """Token ids [n, length] -> embeddings bfloat16 [n, embed_dim], not unit length."""

    def __init__(self, model: CLIP, in_place: bool = False) -> None:
        """model: in any precision, of which the table of tokens is needed afterwards. in_place:
        its blocks are taken apart."""
        self.config = model.config
        self.token_embedding = model.token_embedding
        self.positions = model.positional_embedding.float()
        self.blocks = Blocks(
            model.transformer.resblocks, torch.bfloat16, int8=False, in_place=in_place
        )
        self.ln_final = Norm(model.ln_final)
        bias = model.text_projection_bias
        self.proj = OneDnnLinear(model.text_projection.t(), bias, torch.bfloat16)

    def __call__(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        x = self.token_embedding(tokens).float() + self.positions[:length]
        x = x.to(torch.bfloat16)
        mask: Tensor | None = None
        if self.config.text.causal:
            mask = torch.full((length, length), -torch.inf, dtype=torch.bfloat16).triu(1)
        x = self.blocks(x, text_places(tokens, self.config), mask)
        return self.proj(self.ln_final(x))
