"""`clipcli models`: the published models, and which of them are on disk."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from clipcli.cli import talk
from clipcli.cli.help import App
from clipcli.cli.options import ActivationOption, CacheDir, Quiet, TableFormatOption
from clipcli.cli.printing import print_line, print_text
from clipcli.errors import CacheError, UsageError, one_line
from clipcli.files.table import percent
from clipcli.models import catalogue
from clipcli.models.fetch import fetch

logger = logging.getLogger(__name__)

models_app = App(invoke_without_command=True)


@models_app.callback()
def list_models(
    context: typer.Context, cache_dir: CacheDir = None, format: TableFormatOption = "table"
) -> int:
    """List the models: size, accuracy, whether they are on disk.

    ImageNet: zero-shot top-1 as open_clip measured it (docs/openclip_results.csv).

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
    name: Annotated[str, typer.Argument(help="A published name, such as ViT-B/32.")],
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> int:
    """Fetch a published model, verified; prints where it is.

    Example: clipcli models download ViT-B/32
    Example: clipcli models download ViT-L/14 --cache-dir /mnt/models
    """
    print_line(_fetch(name, cache_dir, quiet))
    return 0


@models_app.command("use")
def use(
    name: Annotated[str, typer.Argument(help="A name, a path, or auto to choose again.")],
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> int:
    """Make a model your default, downloaded and verified first.

    Kept in clipcli.toml in your configuration directory; CLIPCLI_MODEL and --model come before it.

    Example: clipcli models use ViT-B/16
    Example: clipcli models use auto
    """
    from clipcli.models import default_model

    name = default_model.checked(name)
    if catalogue.model_name(name) not in (None, catalogue.LITE):
        _fetch(name, cache_dir, quiet)
    path = default_model.configure(name)
    if not quiet:
        logger.info(f"{name} is your default model now ({path})")
    return 0


@models_app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="lite, a published name, or a checkpoint's path.")],
    activation: ActivationOption = None,
    cache_dir: CacheDir = None,
) -> int:
    """Show what a model is, how accurate, and what it is bad at.

    Of a checkpoint: its kind, size, format and fingerprint.

    Example: clipcli models show lite
    Example: clipcli models show ./pets.safetensors
    """
    known = catalogue.model_name(name)
    if known == catalogue.LITE:
        card = catalogue.lite_path().with_suffix(".md").read_text(encoding="utf-8")
        print_text(card.rstrip() + "\n")
        return 0
    if known is None and os.path.exists(name):
        from clipcli.cli.work import models as work

        print_text(work.described(Path(name), activation))
        return 0
    model = _published(name, "no such file and no published model")
    path = catalogue.path_on_disk(model, _root(cache_dir))
    top1 = percent(model.imagenet_top1 / 100)
    print_text(
        f"{model.name}: published by OpenAI with CLIP (Radford et al., 2021)\n"
        f"pictures    {model.px} x {model.px} pixels\n"
        f"ImageNet    {top1} zero-shot top-1, as open_clip measured it\n"
        f"size        {model.size_bytes / 1e6:,.0f} MB\n"
        f"SHA-256     {model.sha256}\n"
        f"from        {catalogue.model_url(model)}\n"
        f"on disk     {'no' if path is None else one_line(str(path))}\n"
    )
    return 0


def _root(cache_dir: str | None) -> Path | None:
    """Of the cache; without a home directory there is none, and nothing is on disk."""
    try:
        return catalogue.cache_root(cache_dir)
    except CacheError:
        return None


def _published(name: str, found: str = "no published model") -> catalogue.PublishedModel:
    model = catalogue.find_published(name)
    if model is None:
        names = ", ".join(catalogue.available_models())
        hint = catalogue.nearest_name(name)
        raise UsageError(f"{name}: {found}; expected one of {names}{hint}")
    return model


def _fetch(name: str, cache_dir: str | None, quiet: bool) -> Path:
    from clipcli.cli.work import progress

    if quiet:
        talk.leave_out_notes()
    model = _published(name)
    with progress.of_download(quiet) as on_progress:
        return fetch(model, catalogue.cache_root(cache_dir), on_progress)
