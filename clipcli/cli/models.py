"""`clipcli models`: the published models, and which of them are on disk."""

from __future__ import annotations

from typing import Annotated

import typer

from clipcli import hub
from clipcli.cli.options import Quiet
from clipcli.errors import UsageError

models_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)

CacheDir = Annotated[
    str | None, typer.Option(metavar="DIR", help="Where models are kept; else CLIPCLI_CACHE.")
]


@models_app.callback()
def list_models(context: typer.Context, cache_dir: CacheDir = None) -> int:
    """List the published models: size, input, ImageNet accuracy, whether they are on disk.

    ImageNet: zero-shot top-1 as open_clip measured it (docs/openclip_results.csv).

    Example: clipcli models
    """
    if context.invoked_subcommand is None:
        root = hub.cache_root(cache_dir)
        typer.echo(f"{'MODEL':<15}{'SIZE':>9}{'INPUT':>8}{'IMAGENET':>10}  ON DISK")
        for model in hub.PUBLISHED:
            size = f"{model.size_bytes / 1e6:,.0f} MB"
            on_disk = hub.model_path(model, root) if hub.is_on_disk(model, root) else "no"
            typer.echo(
                f"{model.name:<15}{size:>9}{model.px:>5} px{model.imagenet_top1:>8.2f} %  {on_disk}"
            )
    return 0


@models_app.command("download")
def download(
    name: Annotated[str, typer.Argument(help="A published name, such as ViT-B/32.")],
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> int:
    """Fetch a published model ahead of time, verified; prints where it is.

    Example: clipcli models download ViT-B/32
    """
    from clipcli.cli.report import Report

    model = hub.find_published(name)
    if model is None:
        raise UsageError(
            f"{name}: no published model; expected one of {', '.join(hub.available_models())}"
        )
    report = Report("downloaded", quiet)
    with report.downloading(model.name) as on_progress:
        path = hub.fetch(model, hub.cache_root(cache_dir), on_progress, report.note)
    typer.echo(path)
    return 0
