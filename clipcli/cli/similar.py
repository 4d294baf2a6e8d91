"""`clipcli similar`: a query to the photographs nearest to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.cli.options import ModelOptions, OutputOptions, Paths, PhotoOptions, takes

Parts = list[str] | None


@dataclass(frozen=True)
class SearchOptions:
    """What the query is made of, where it is looked for, and how many answers there are."""

    text: Annotated[
        bool, typer.Option("--text", help="QUERY is words, also where a file has that name.")
    ] = False
    embeddings: Annotated[
        str | None, typer.Option(metavar="FILE", help="Search this file in place of PATH.")
    ] = None
    add_text: Annotated[Parts, typer.Option(help="More of these words; 2:WORDS doubles.")] = None
    add_image: Annotated[Parts, typer.Option(help="More like this photograph.")] = None
    subtract_text: Annotated[Parts, typer.Option(help="Less of these words.")] = None
    subtract_image: Annotated[Parts, typer.Option(help="Less like this photograph.")] = None
    top_k: Annotated[int, typer.Option(min=1, help="How many.")] = 10
    min_similarity: Annotated[
        float, typer.Option(min=-1.0, max=1.0, help="Leave out what is below this cosine.")
    ] = -1.0
    paths_only: Annotated[
        bool, typer.Option("--paths-only", help="Print paths alone, NUL-separated with -0.")
    ] = False


@takes(SearchOptions, ModelOptions, PhotoOptions, OutputOptions)
def similar(
    *,
    query: Annotated[str, typer.Argument(help="A photograph, or words.")],
    paths: Paths = None,
    search: SearchOptions,
    model: ModelOptions,
    photo: PhotoOptions,
    out: OutputOptions,
) -> int:
    """Find the photographs nearest to a photograph or to words.

    Example: clipcli similar "a dog in the snow" photos/ --top-k 5
    """
    from clipcli.cli.work import similar as work

    return work.similar(query, paths, search, model, photo, out)
