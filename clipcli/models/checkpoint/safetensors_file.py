"""Reading `.safetensors`: a header of JSON, then raw tensors. The library checks offsets."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from clipcli.errors import CheckpointError
from clipcli.models.checkpoint.outline import excerpt

HEADER_LIMIT_BYTES = 4_000_000  # the largest published one has 0.2 MB


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The file's tensors, on the CPU, and its metadata.

    Raises CheckpointError for a header that lies.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
    if header_bytes > min(HEADER_LIMIT_BYTES, size_bytes - 8):
        raise CheckpointError(
            f"{path}: its header claims {header_bytes:,} bytes in a file of {size_bytes:,};"
            f" expected at most {HEADER_LIMIT_BYTES:,} and within the file; fetch the file again"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
        tensors = load_file(path)  # maps the file; a number is read when it is used
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path}: a damaged .safetensors file ({excerpt(error)}); expected tensors that follow"
            " each other without holes or overlaps; fetch the file again"
        ) from error
    except (OSError, MemoryError) as error:
        raise CheckpointError(
            f"{path}: its {size_bytes:,} bytes cannot be mapped ({excerpt(error)}); expected that"
            " much room in memory"
        ) from error
    return tensors, metadata
