"""Reading `.safetensors`: a header of JSON, then raw tensors. The library checks offsets."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from clipcli.errors import CheckpointError

HEADER_LIMIT_BYTES = 100_000_000  # the format's own limit


def looks_like(start: bytes) -> bool:
    """Whether a file that begins with these bytes claims to be in this format."""
    return start[8:9] == b"{"


def read(path: Path) -> dict[str, Tensor]:
    """The file's tensors, on the CPU. Raises CheckpointError for a header that lies."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
    if header_bytes > min(HEADER_LIMIT_BYTES, size_bytes - 8):
        raise CheckpointError(
            f"{path}: its header claims {header_bytes:,} bytes in a file of {size_bytes:,};"
            f" expected at most {HEADER_LIMIT_BYTES:,} and within the file; fetch the file again"
        )
    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path}: a damaged .safetensors file ({error}); expected tensors that follow each"
            " other without holes or overlaps; fetch the file again"
        ) from error
