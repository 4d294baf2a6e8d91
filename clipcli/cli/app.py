"""The commands by name."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import clipcli
from clipcli.cli.cache import cache_app
from clipcli.cli.calibrate import calibrate
from clipcli.cli.classify import classify
from clipcli.cli.config import config, init
from clipcli.cli.diff import diff
from clipcli.cli.embed import embed
from clipcli.cli.eval import evaluate
from clipcli.cli.help import MAX_COLUMNS, App, Group
from clipcli.cli.models import models_app
from clipcli.cli.printing import print_line
from clipcli.cli.probe import probe_app
from clipcli.cli.prompts import prompts_app
from clipcli.cli.similar import similar
from clipcli.cli.tag import tag
from clipcli.cli.train import train
from clipcli.cli.undo import undo

# in the order in which people meet them
ORDER = (
    *("classify", "tag", "undo", "similar", "embed", "models", "eval", "calibrate", "probe"),
    *("prompts", "train", "diff", "cache", "init", "config"),
)


class _Ordered(Group):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: self.commands[name] for name in sorted(self.commands, key=ORDER.index)
        }


app = App(
    name="clipcli",
    cls=_Ordered,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": MAX_COLUMNS},
)


def _print_version(asked: bool) -> None:
    if asked:
        print_line(f"clipcli {clipcli.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show which version this is."
        ),
    ] = False,
) -> None:
    """Label, embed and search photographs with CLIP.

    clipcli COMMAND --help says what a command takes.

    Example: clipcli classify photos/ --labels dog,cat,tiger
    Example: clipcli similar "a dog in the snow" photos/
    """


app.command()(classify)
app.command()(tag)
app.command()(embed)
app.command()(calibrate)
app.command()(similar)
app.command()(train)
app.command()(undo)
app.command()(diff)
app.command("eval")(evaluate)
app.command()(init)
app.command()(config)
app.add_typer(models_app, name="models")
app.add_typer(prompts_app, name="prompts")
app.add_typer(cache_app, name="cache")
app.add_typer(probe_app, name="probe")
