"""`clipcli models`: the published models, and which of them are on disk."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from clipcli.cli.cache import Yes
from clipcli.cli.help import App
from clipcli.cli.options import completion
from clipcli.cli.options.shared import ActivationOption, CacheDir, Quiet, TableFormatOption
from clipcli.cli.printing import print_line, print_text
from clipcli.errors import CacheError, ExitCode, ModelError, UsageError
from clipcli.models.on_disk import catalogue
from clipcli.records import Activation

logger = logging.getLogger(__name__)

models_app = App(invoke_without_command=True)


@models_app.callback()
def list_models(
    context: typer.Context, cache_dir: CacheDir = None, format: TableFormatOption = "table"
) -> int:
    """List the models: size, accuracy, licence, whether they are on disk.

    Example: clipcli models
    Example: clipcli models show lite
    """
    from clipcli.cli.work import model_table

    command = context.invoked_subcommand
    if command and format != "table":
        raise UsageError(f"--format {format}: clipcli models {command} prints no table")
    if command is None:
        model_table.print_models(_root(cache_dir), format)
    return 0


@models_app.command("download")
def download(
    name: Annotated[
        str,
        typer.Argument(
            help="Such as datacomp-b32-256, or hf:ORG/NAME.", autocompletion=completion.models
        ),
    ],
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> int:
    """Fetch a model; prints where it is.

    Of the Hugging Face hub the newest revision, also where an older one is on disk.

    Example: clipcli models download datacomp-b32-256
    Example: clipcli models download ViT-L/14 --cache-dir /mnt/models
    """
    print_line(_fetch(name, cache_dir, quiet, anew=True))
    return 0


@models_app.command("remove")
def remove(
    name: Annotated[
        str,
        typer.Argument(help="A model that was downloaded.", autocompletion=completion.models),
    ],
    cache_dir: CacheDir = None,
    yes: Yes = False,
    quiet: Quiet = False,
) -> int:
    """Free the disk of a downloaded model, after a question.

    Example: clipcli models remove ViT-L/14
    Example: clipcli models remove hf:ORG/NAME --yes
    """
    from clipcli.cli.work.model_files import remove

    return remove(_known(name), catalogue.cache_root(cache_dir), yes, quiet)


@models_app.command("use")
def use(
    name: Annotated[
        str,
        typer.Argument(
            help="A name, a path, or auto to choose again.", autocompletion=completion.models
        ),
    ],
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> int:
    """Make a model your default, downloaded first.

    Kept in clipcli.toml in your configuration directory. Before it come --model, CLIPCLI_MODEL and
    the clipcli.toml of the working directory.

    Example: clipcli models use ViT-B/16
    Example: clipcli models use auto
    """
    from clipcli.models.on_disk import default_model

    name = default_model.checked(name)
    if catalogue.model_name(name) not in (None, catalogue.LITE):
        _fetch(name, cache_dir, quiet)
    path = default_model.configure(name)
    if not quiet:
        logger.info(f"{name} is your default model now ({path})")
    return 0


@models_app.command("show")
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A name, hf:ORG/NAME, or a checkpoint's path.", autocompletion=completion.models
        ),
    ],
    activation: ActivationOption = None,
    cache_dir: CacheDir = None,
) -> int:
    """Show what a model is, how accurate, and what it is bad at.

    Of a checkpoint: its family, how it sees and scores, its size, format and fingerprint.

    Example: clipcli models show lite
    Example: clipcli models show ./pets.safetensors
    """
    known = catalogue.model_name(name)
    if known == catalogue.LITE:
        card = catalogue.lite_path().with_suffix(".md").read_text(encoding="utf-8")
        print_text(card.rstrip() + "\n")
        return 0
    if known is None and os.path.exists(name):
        print_text(_described(Path(name), activation))
        return 0
    from clipcli.cli.work.model_facts import facts, place

    known = known or _known(name, "no such file and no published model")
    root = _root(cache_dir)
    path = place(known, root)
    print_text(facts(known, root))
    if path is not None:
        try:
            print_text("\n" + _described(path, activation))
        except ModelError as error:  # what is known of the model stands there all the same
            logger.warning(str(error))
            return ExitCode.PARTLY_READ
    return 0


def _described(path: Path, activation: Activation | None) -> str:
    from clipcli.cli.work.models import described

    return described(path, activation)


def _root(cache_dir: str | None) -> Path | None:
    """None without a home directory, where nothing is on disk."""
    with suppress(CacheError):
        return catalogue.cache_root(cache_dir)
    return None


def _known(name: str, found: str = "no published model") -> str:
    """The model's name as it is published; a file that is called so is not meant."""
    if on_hub := catalogue.find_on_hub(name):
        return on_hub.name
    if published := catalogue.find_published(name):
        return published.name
    if name.lower() == catalogue.LITE:
        raise UsageError("lite is a part of clipcli, always on disk; expected another model")
    names = ", ".join(catalogue.known_names())
    raise UsageError(
        f"{name}: {found}; expected one of {names} or hf:ORG/NAME{catalogue.nearest_name(name)}"
    )


def _fetch(name: str, cache_dir: str | None, quiet: bool, anew: bool = False) -> Path:
    from clipcli.cli.work.model_files import download

    return download(_known(name), catalogue.cache_root(cache_dir), quiet, anew)
