"""`clipcli embed`: photographs or texts to vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from clipcli.cli.help import OUTPUT, TEXTS, in_panel, one_of
from clipcli.cli.options.shared import ModelOptions, OutputOptions, Paths, PhotoOptions
from clipcli.cli.options.takes import takes

DType = Literal["float32", "float16"]


@dataclass(frozen=True)
class EmbedOptions:
    """What is embedded in place of photographs, and in which numbers."""

    text: Annotated[
        list[str] | None,
        in_panel(TEXTS, metavar="TEXT", help="Embed this text instead of photographs; repeatable."),
    ] = None
    text_file: Annotated[
        str | None, in_panel(TEXTS, metavar="FILE", help="Embed the lines of this file instead.")
    ] = None
    dtype: Annotated[
        DType,
        in_panel(OUTPUT, metavar=one_of(DType), help="Of the numbers in a file of embeddings."),
    ] = "float32"


@takes(EmbedOptions, PhotoOptions, ModelOptions, OutputOptions)
def embed(
    *,
    paths: Paths = None,
    embed: EmbedOptions,
    model: ModelOptions,
    photo: PhotoOptions,
    out: OutputOptions,
) -> int:
    """Turn photographs, or texts, into unit vectors.

    The suffix of --output decides: .npy (with a .jsonl of paths), .npz, .safetensors, .parquet,
    .csv, .tsv, .jsonl.

    Example: clipcli embed photos/ -o photos.npy
    Example: clipcli embed --text "a dog in the snow" --format jsonl
    """
    from clipcli.cli.work import embed as work

    return work.embed(paths, embed, model, photo, out)
