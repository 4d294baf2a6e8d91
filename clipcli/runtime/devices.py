"""Where a model runs and in which numbers: devices and precisions, told from the hardware."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from clipcli.errors import UsageError
from clipcli.records import Precision

logger = logging.getLogger(__name__)

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_device(device: str) -> torch.device:
    """`auto` is CUDA, then MPS, then the CPU. Raises UsageError for a device that is not here.

    `cuda` without a number is every GPU that is visible; see `devices_of`.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or not (number.isdigit() or ":" not in device):
        raise UsageError(f"--device {device}: expected auto, cpu, cuda, cuda:1 or mps")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"--device {device}: {torch.cuda.device_count()} CUDA devices found;"
            " pass --device auto or --device cpu"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"--device {device}: no MPS device found; pass --device auto")
    return torch.device(device)


def devices_of(device: torch.device) -> list[torch.device]:
    """The devices that get a copy of the model each: `cuda` without a number is all GPUs."""
    if device.type == "cuda" and device.index is None:
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [device]


def choose_precision(precision: Precision, device: torch.device) -> Precision:
    """The precision to compute in. `auto` is the fastest that the hardware has instructions for.

    That is float16 on accelerators, bfloat16 on CPUs that multiply it (AVX-512 BF16, AMX), else
    float32. On a CPU without VNNI, int8 is slower than these, and becomes `auto`, with a note.
    Raises UsageError for int8 on an accelerator.
    """
    if precision == "int8":
        if device.type != "cpu":
            raise UsageError(
                f"--precision int8 runs on the CPU, and the device is {device};"
                " pass --device cpu or --precision fp16"
            )
        if has_int8():
            return precision
        logger.info("this CPU has no int8 instructions (VNNI): --precision auto instead")
        precision = "auto"
    if precision == "auto":
        if device.type != "cpu":
            return "fp16"
        return "bf16" if has_bfloat16() else "fp32"
    return precision


def dtype_of(precision: Precision) -> torch.dtype:
    """What is computed in; for int8, all but the products of the image encoder's blocks."""
    if precision == "int8":
        return torch.bfloat16 if has_bfloat16() else torch.float32
    return DTYPES[precision]


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware."""
    return _cpu_says("_is_avx512_bf16_supported") or _cpu_says("_is_amx_tile_supported")


def has_int8() -> bool:
    """Whether this CPU multiplies int8 matrices in hardware, 512 bits at a time."""
    return _cpu_says("_is_avx512_supported") and _cpu_says("_is_vnni_supported")


def _cpu_says(name: str) -> bool:
    ask: Callable[[], bool] | None = getattr(torch.cpu, name, None)  # private, so it may go
    return ask is not None and ask()
