"""`clipcli similar`: a query to the photographs nearest to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.cli.help import OUTPUT, SEARCH, in_panel
from clipcli.cli.options.shared import ModelOptions, OutputOptions, Paths, PhotoOptions
from clipcli.cli.options.takes import takes

Parts = list[str] | None


@dataclass(frozen=True)
class SearchOptions:
    """What the query is made of, where it is looked for, and how many answers there are."""

    top_k: Annotated[
        int, in_panel(SEARCH, min=1, metavar="N", help="How many photographs to find.")
    ] = 10
    min_similarity: Annotated[
        float,
        in_panel(
            SEARCH,
            min=-1.0,
            max=1.0,
            metavar="N",
            help="Leave out what is below this cosine, from -1 to 1.",
        ),
    ] = -1.0
    text: Annotated[
        bool, in_panel(SEARCH, "--text", help="QUERY is words, also where a file has that name.")
    ] = False
    embeddings: Annotated[
        str | None,
        in_panel(SEARCH, metavar="FILE", help="Search what clipcli embed wrote, in place of PATH."),
    ] = None
    add_text: Annotated[
        Parts, in_panel(SEARCH, metavar="TEXT", help="More of these words; 2:WORDS doubles.")
    ] = None
    add_image: Annotated[
        Parts, in_panel(SEARCH, metavar="FILE", help="More like this photograph.")
    ] = None
    subtract_text: Annotated[
        Parts, in_panel(SEARCH, metavar="TEXT", help="Less of these words.")
    ] = None
    subtract_image: Annotated[
        Parts, in_panel(SEARCH, metavar="FILE", help="Less like this photograph.")
    ] = None
    paths_only: Annotated[
        bool, in_panel(OUTPUT, "--paths-only", help="Print paths alone; with -0, a NUL ends each.")
    ] = False


@takes(SearchOptions, PhotoOptions, ModelOptions, OutputOptions)
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
    Example: clipcli similar examples/photos/cat.jpg photos/ --subtract-text indoors
    """
    from clipcli.cli.work import similar as work

    return work.similar(query, paths, search, model, photo, out)
