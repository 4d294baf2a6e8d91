"""A linear layer in 8-bit integers: weights by output channel, activations by token.

Each token has a scale of its own, its largest value over 127. With one scale for all, a
photograph's embedding would depend on the others in its batch. The CPU multiplies unsigned
activations with signed weights; with s and t the scales of token and channel and z the zero point,

    x W + b  ~  s * (t * (q W_q) - z * t * sum(W_q)) + b,    q = round(x / s) + z,

where the bracket is one call of oneDNN, since t and the sum are known beforehand.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from clipcli.records import Activation

# A float32 of 2**23 or more has no bits for a fraction. So to add 2**23 rounds a number, and leaves
# it as an integer in the lowest byte: faster than round() and a conversion, on the largest tensors.
_ROUNDING = 2.0**23
# the least values of the activations, which are close to zero: nearly all of the range of a byte
# is for values above it; QuickGELU is computed as swish
_LEAST = {"quickgelu": -0.27847, "gelu": -0.16998, "gelu_tanh": -0.17005}
_ZERO_POINT_SIGNED, _ZERO_POINT_ACTIVATED = 128, 32
_SMALLEST_SCALE = 1e-12  # of a token that is all zeros


@cache
def is_available() -> bool:
    """Whether this PyTorch has the operators, as they are called here."""
    ones = torch.ones(2, 2)
    try:
        sums = Int8Linear(ones, ones[0], torch.float32)(ones.clone())
    except (AttributeError, TypeError, RuntimeError):
        return False
    return sums.round().tolist() == [[3, 3], [3, 3]]


class Int8Linear:
    """A `Linear` (see onednn_linear) on float32 activations.

    dtype: of what is neither activation nor residual. follows: the activation that made its
    input, if one did.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        dtype: torch.dtype,
        follows: Activation | None = None,
    ) -> None:
        """weight: float32 [out, in]; bias: float32 [out]."""
        self.dtype = dtype
        self.channel_scales = weight.abs().amax(dim=1).clamp_min_(_SMALLEST_SCALE) / 127
        quantised = (weight / self.channel_scales[:, None]).round_()
        self.weight: Tensor = torch.ops.onednn.qlinear_prepack(quantised.to(torch.int8), None)
        self.bias = bias
        self.least = None if follows is None else _LEAST[follows]
        self.zero_point = _ZERO_POINT_SIGNED if follows is None else _ZERO_POINT_ACTIVATED
        self.offsets = -self.zero_point * self.channel_scales * quantised.sum(dim=1)
        self._zeros = torch.zeros(len(weight), dtype=torch.int32)
        # for every input, since to broadcast one number takes four times as long
        self._rounding = torch.full((weight.shape[1],), _ROUNDING + self.zero_point)

    def __call__(self, x: Tensor) -> Tensor:
        # rounded to bfloat16 before it is used, so that both steps use the same scale
        scales = self._scales(x).to(self.dtype)
        product = self._product(x, scales.float(), self.dtype)
        return product.mul_(scales).add_(self.bias.to(self.dtype))

    def activated(self, x: Tensor, activation: Activation) -> Tensor:
        scales = self._scales(x)
        product = self._product(x, scales, torch.float32)
        out = torch.addcmul(self.bias, product, scales, out=product)
        if activation == "quickgelu":
            return F.silu(out, inplace=True)
        # the approximation by tanh is within 0.0005 of GELU, and takes three times as long
        gelu: Tensor = torch.ops.aten.gelu_(out)
        return gelu

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        scales = self._scales(x)
        product = self._product(x, scales, torch.float32)
        return torch.addcmul(residual, product, scales, out=product).add_(self.bias)

    def _scales(self, x: Tensor) -> Tensor:
        """float32 [n, in] -> the scale of each token, [n, 1]."""
        if self.least is None:
            largest = x.abs().amax(dim=1, keepdim=True)
            return largest.mul_(1 / 127).clamp_min_(_SMALLEST_SCALE)
        largest = x.amax(dim=1, keepdim=True)
        return largest.mul_(1 / (255 - self.zero_point)).clamp_min_(-self.least / self.zero_point)

    def _product(self, x: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
        """x W / s in `dtype`; x is overwritten."""
        rounded = torch.addcmul(self._rounding, x, scales.reciprocal(), out=x)
        quantised = rounded.view(torch.int32).to(torch.uint8)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            quantised, 1.0, 0, self.weight, self.channel_scales, self._zeros, self.offsets,
            1.0, 0, dtype, "none", [], "",
        )  # fmt: skip
        return product
