"""`clipcli cache`: what is remembered between runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.cli.help import App
from clipcli.cli.options.shared import CacheDir, Quiet, TableFormatOption
from clipcli.errors import CacheError, UsageError
from clipcli.models.on_disk import catalogue

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

Gone = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FOLDER",
        help="Only what was below it, also where it is not there any more; repeatable.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be forgotten.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed without a terminal.")]

cache_app = App(invoke_without_command=True)


@cache_app.callback()
def cache(context: typer.Context, cache_dir: CacheDir = None) -> int:
    """Look after the embeddings that are remembered between runs.

    Example: clipcli cache
    Example: clipcli cache prune --dry-run
    """
    command = context.invoked_subcommand
    if command and cache_dir is not None:
        raise UsageError(
            f"--cache-dir comes too early: clipcli cache {command} --cache-dir {cache_dir}"
        )
    return 0 if command else info(cache_dir)


@cache_app.command("info")
def info(cache_dir: CacheDir = None, format: TableFormatOption = "table") -> int:
    """Show where it is, how large, and what it knows of each model.

    Example: clipcli cache info
    Example: clipcli cache info --format csv
    """
    from clipcli.cli.work.cache import info

    path = _path(cache_dir)
    return info(path, _is_there(path), format)


@cache_app.command("verify")
def verify(cache_dir: CacheDir = None, quiet: Quiet = False) -> int:
    """Check every entry; exit 1 if one is damaged.

    Example: clipcli cache verify
    Example: clipcli cache verify --cache-dir /mnt/cache
    """
    from clipcli.embedding.cache import upkeep

    path = _path(cache_dir)
    problems = upkeep.verify(path) if _is_there(path) else []
    for problem in problems:
        logger.warning(problem)
    if problems:
        raise CacheError(
            f"{path}: {len(problems)} problems; damaged entries are never used; clipcli cache"
            " repair drops them"
        )
    if not quiet:
        logger.info(f"{path}: all well")
    return 0


@cache_app.command("repair")
def repair(cache_dir: CacheDir = None, quiet: Quiet = False) -> int:
    """Drop what is damaged and keep the rest.

    Example: clipcli cache repair
    Example: clipcli cache repair --cache-dir /mnt/cache
    """
    from clipcli.embedding.cache.repair import Repaired, repair

    path = _path(cache_dir)
    done = repair(path) if _is_there(path) else Repaired(0, 0, has_lost=False)
    if not quiet:
        lost = "; others could not be read any more" if done.has_lost else ""
        said = f"{done.n_kept:,} entries kept, {done.n_dropped:,} damaged ones dropped{lost}"
        logger.info(f"{path}: {said}")
    return 0


@cache_app.command("prune")
def prune(
    cache_dir: CacheDir = None,
    gone: Gone = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    quiet: Quiet = False,
) -> int:
    """Forget photographs whose files are gone, after a question.

    Kept are those whose folder is not there or empty: their disk may not be connected.

    Example: clipcli cache prune --dry-run
    Example: clipcli cache prune --gone /media/old-disk --yes
    """
    from clipcli.cli.work.cache import prune

    path = _path(cache_dir)
    if _is_there(path):
        return prune(path, gone or [], yes, dry_run, quiet)
    if not quiet:
        logger.info(f"{path}: nothing is remembered yet")
    return 0


@cache_app.command("clear")
def clear(cache_dir: CacheDir = None, yes: Yes = False, quiet: Quiet = False) -> int:
    """Forget everything, after a question.

    Models stay; photographs will be encoded again.

    Example: clipcli cache clear
    Example: clipcli cache clear --yes
    """
    from clipcli.cli.work.cache import clear

    return clear(_path(cache_dir), yes, quiet)


def _path(cache_dir: str | None) -> Path:
    from clipcli.embedding.cache.store import FILE_NAME

    return catalogue.cache_root(cache_dir) / FILE_NAME


def _is_there(path: Path) -> bool:
    """Raises CacheError where that cannot be told."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise CacheError(f"{path}: cannot be looked at: {error.strerror}") from error
    return True
