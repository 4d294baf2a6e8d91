"""In which numbers a run computes: what the user wants, and what the hardware has."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from clipcli.errors import UsageError
from clipcli.runtime.devices import choose_device, has_bfloat16

TrainingPrecision = Literal["auto", "fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class Precision:
    """How the towers compute; parameters, loss and optimizer are float32."""

    name: Literal["fp32", "fp16", "bf16"]
    device: torch.device

    @classmethod
    def choose(cls, wanted: TrainingPrecision, device_name: str) -> Precision:
        """`auto` is bf16 where the hardware has it, else float16 on CUDA, else float32.

        Raises UsageError for a device that is not here, or float16 on one that is not CUDA.
        """
        device = choose_device(device_name)
        if wanted == "fp16" and device.type != "cuda":
            raise UsageError(f"--precision fp16 on {device}: expected fp32, bf16, or a CUDA device")
        if wanted != "auto":
            return cls(wanted, device)
        if device.type == "cuda":
            has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
            return cls("bf16" if has_bf16 else "fp16", device)
        has_bf16 = device.type == "cpu" and has_bfloat16()
        return cls("bf16" if has_bf16 else "fp32", device)

    def autocast(self) -> AbstractContextManager[object]:
        if self.name == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self.name == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype)

    def scaler(self) -> torch.amp.GradScaler | None:
        """Gradients of float16 vanish unless the loss is scaled up."""
        return torch.amp.GradScaler("cuda") if self.name == "fp16" else None
