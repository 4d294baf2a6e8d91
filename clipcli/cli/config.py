"""`clipcli config` and `clipcli init`: what the settings are, and a file to keep them in."""

from __future__ import annotations

from typing import Annotated

import typer

from clipcli.cli.options import completion
from clipcli.cli.options.shared import Quiet, TableFormatOption


def config(
    context: typer.Context,
    path: Annotated[
        str | None, typer.Argument(metavar="PATH", help="As the command would be given.")
    ] = None,
    command: Annotated[
        str,
        typer.Option(
            "--command",
            metavar="NAME",
            help="Whose options, such as embed or probe_fit.",
            autocompletion=completion.commands,
        ),
    ] = "classify",
    all: Annotated[bool, typer.Option("--all", help="Those too that have their default.")] = False,
    format: TableFormatOption = "table",
) -> int:
    """Show which options are set, and where: a variable, or a clipcli.toml.

    The command line beats the environment (CLIPCLI_TOP_K for --top-k), which beats the
    clipcli.toml of the folder, which beats that in your configuration directory.

    Example: clipcli config photos/
    Example: clipcli config --command embed --all
    """
    from clipcli.cli.work.config import show

    return show(context, path, command, all, format)


def init(
    folder: Annotated[
        str | None, typer.Argument(metavar="FOLDER", help="Where, in place of this one.")
    ] = None,
    user: Annotated[
        bool, typer.Option("--user", help="In your configuration directory, for every folder.")
    ] = False,
    quiet: Quiet = False,
) -> int:
    """Write a clipcli.toml with every likely setting, each explained and switched off.

    Example: clipcli init
    Example: clipcli init --user
    """
    from clipcli.cli.work.init import write

    return write(folder, user, quiet)
