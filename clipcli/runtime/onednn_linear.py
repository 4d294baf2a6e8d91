"""A linear layer by oneDNN, which a CPU multiplies fastest: its weights are prepacked, and the
activation or residual that follows is fused into the product.

The operators are those that torch.compile itself calls. Other versions of PyTorch may lack them, so
they are tried, and without them the plain layers compute.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from clipcli.records import Activation

# by the name that oneDNN gives them; QuickGELU is the swish of a scaled input, see cpu_blocks
_ONEDNN_NAMES = {"quickgelu": "swish", "gelu": "gelu", "gelu_tanh": "gelu"}


class Linear(Protocol):
    """What the transformer blocks in cpu_blocks are made of.

    Inputs and outputs are rows [n, in] and [n, out]. An input may be overwritten.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """x W + b, in the precision around the products."""

    def activated(self, x: Tensor, activation: Activation) -> Tensor:
        """The activation of x W + b, in x's precision; QuickGELU's as swish."""

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """x W + b + residual, in the precision of the residual."""


@cache
def is_available() -> bool:
    """Whether this PyTorch has the operators, as they are called here."""
    ones = torch.ones(2, 2)
    try:
        linear = OneDnnLinear(ones, ones[0], torch.bfloat16)
        sums = linear.plus(ones.bfloat16(), linear(ones.bfloat16()))
    except (AttributeError, TypeError, RuntimeError):
        return False
    return sums.tolist() == [[6, 6], [6, 6]]


class OneDnnLinear:
    """A `Linear` in `dtype` throughout, bfloat16 or float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        """weight: float32 [out, in]; bias: float32 [out]."""
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype).contiguous())
        self.bias = None if bias is None else bias.to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return self._product(x, "none")

    def activated(self, x: Tensor, activation: Activation) -> Tensor:
        formula = "tanh" if activation == "gelu_tanh" else "none"
        return self._product(x, _ONEDNN_NAMES[activation], formula)

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, residual, self.weight, self.bias, "add"
        )
        return out

    def _product(self, x: Tensor, then: str, formula: str = "none") -> Tensor:
        # "none" is GELU's own formula, "tanh" its approximation
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, then, [], formula
        )
        return out
