"""What suffixes promise: a file called report.pdf that holds HTML misleads whoever opens it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clipcli.errors import UsageError

# those by which other programs choose how to read; any other name may hold what it likes
KNOWN = frozenset(
    ".csv .tsv .psv .json .jsonl .ndjson .json5 .geojson .xml .yaml .yml .toml .ini"
    " .xls .xlsx .xlsm .ods .numbers .doc .docx .odt .rtf .ppt .pptx .pdf .ps .eps"
    " .html .htm .xhtml .md .tex .svg .png .jpg .jpeg .gif .webp .tif .tiff .bmp .heic"
    " .npy .npz .safetensors .parquet .feather .arrow .avro .orc .h5 .hdf5 .mat .nc .zarr .tfrecord"
    " .pkl .pickle .joblib .pt .pth .ckpt .bin .onnx .gguf .faiss"
    " .sqlite .sqlite3 .db .duckdb .zip .gz .bz2 .xz .zst .tar .7z .py .ipynb .exe".split()
)


def check_suffix(option: str, path: str | None, *written: str) -> None:
    """Refuse to write a file whose suffix means what it will not hold.

    written: suffixes of what is written, with their dots. Raises UsageError.
    """
    suffix = "" if path is None else Path(path).suffix.lower()
    if suffix in KNOWN and suffix not in written:
        raise UsageError(f"{option} {path}: {suffix} is not written; expected {_either(written)}")


def _either(suffixes: Sequence[str]) -> str:
    *others, last = suffixes
    return f"{', '.join(others)} or {last}" if others else last
