"""`clipcli embed`: photographs or texts to vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from clipcli.cli.options import ModelOptions, OutputOptions, Paths, PhotoOptions, takes


@dataclass(frozen=True)
class EmbedOptions:
    """What is embedded in place of photographs, and in which numbers."""

    text: Annotated[list[str] | None, typer.Option(help="Embed this text instead; repeatable.")] = (
        None
    )
    text_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Embed the lines of this file instead.")
    ] = None
    dtype: Annotated[
        Literal["float32", "float16"], typer.Option(help="Of the numbers in a file of embeddings.")
    ] = "float32"


@takes(EmbedOptions, ModelOptions, PhotoOptions, OutputOptions)
def embed(
    *,
    paths: Paths = None,
    embed: EmbedOptions,
    model: ModelOptions,
    photo: PhotoOptions,
    out: OutputOptions,
) -> int:
    """Turn photographs, or texts, into unit vectors.

    The suffix of --output decides: .npy (with a .jsonl of paths), .npz, .safetensors, .csv, .jsonl.

    Example: clipcli embed photos/ -o photos.npy
    """
    from clipcli.cli.work import embed as work

    return work.embed(paths, embed, model, photo, out)
