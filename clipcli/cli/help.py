"""What --help shows: what a command is for, two examples, and its options in panels.

Plain text: to import Rich would take longer than all else. An option names its panel as
`rich_help_panel`, and what it does when it is not given as its default, or as `show_default`.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from clipcli.errors import ClipcliError

F = TypeVar("F", bound=Callable[..., Any])

SEARCH = "Search"
TEXTS = "Texts"
LABELS = "Labels"
LEARNING = "Learning"
MEASURING = "Measuring"
OUTPUT = "Output"
KEYWORDS = "Labels into photographs"
SORTING = "Photographs into folders"
UPDATING = "Kept up to date"
PHOTOS = "Which photographs"
MODEL = "Model"
FINE_POINTS = "Fine points"
PANELS = (
    *(SEARCH, TEXTS, LABELS, LEARNING, MEASURING, OUTPUT, KEYWORDS, SORTING, UPDATING),
    *(PHOTOS, MODEL, FINE_POINTS),
)

COMMON = ("labels", "labels_file", "output", "format", "write_xmp")  # first in their panels
FEW_OPTIONS = 10  # need no panels
MAX_COLUMNS = 120  # longer lines are hard to read
NAME_COLUMNS = 24  # a longer name has its text below it
EXAMPLE = "Example: "  # so begin the lines of a docstring that are examples


def in_panel(panel: str, *names: str, **settings: Any) -> Any:
    """`typer.Option`, shown in one of PANELS."""
    return typer.Option(*names, rich_help_panel=panel, **settings)


def output_file(help: str, metavar: str = "FILE", show_default: str | bool = True) -> Any:
    """`--output`, or `-o`: where a command writes."""
    return in_panel(OUTPUT, "--output", "-o", metavar=metavar, help=help, show_default=show_default)


def one_of(choices: Any) -> str:
    """The metavar of an option that takes one of these, as `crop|pad|squash`."""
    return "|".join(get_args(choices))


def examples(command: Any) -> list[str]:
    """Command lines that show what a command does."""
    lines = str(command.help).splitlines()
    return [line.removeprefix(EXAMPLE) for line in lines if line.startswith(EXAMPLE)]


class _WithSettings:
    """Options that are not given come from the environment and clipcli.toml."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        from clipcli.cli.settings.fill import fill

        fill(self, ctx, args)
        return super().parse_args(ctx, args)  # type: ignore[misc]

    def invoke(self, ctx: Any) -> Any:
        from clipcli.cli.settings.fill import explain

        try:
            return super().invoke(ctx)  # type: ignore[misc]
        except ClipcliError as error:
            explain(error, ctx)
            raise


class Command(_WithSettings, TyperCommand):
    """A command with our help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write_help(self, ctx, formatter)


class Group(_WithSettings, TyperGroup):
    """Commands with our help, and with one page on all of them."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        for one in params:
            # a flag of None would be made False by pydantic, whose import takes 60 ms
            if one.param_type_name == "option" and one.is_flag and one.default is None:
                one.default = False
        return params

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write_help(self, ctx, formatter)


class App(typer.Typer):
    """A Typer of such commands."""

    def __init__(self, cls: type[Group] = Group, **settings: Any) -> None:
        super().__init__(cls=cls, rich_markup_mode=None, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[F], F]:
        return super().command(name, cls=Command, **settings)


def _write_help(command: Any, context: Any, formatter: Any) -> None:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    below = getattr(command, "commands", {})
    usage = [_argument(one) if one.required else f"[{_argument(one)}]" for one in arguments]
    usage += ["[COMMAND]"] if below else []
    formatter.write_usage(context.command_path, " ".join([*usage, "[OPTIONS]"]))
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(_about(command))
    with formatter.section(_bold("Examples")):
        # not wrapped: they are to be copied
        formatter.write("".join(f"  {example}\n" for example in examples(command)))
    if below:
        with formatter.section(_bold("Commands")):
            formatter.write_dl([(name, _about(one).splitlines()[0]) for name, one in below.items()])
    _write_panel(formatter, "Arguments", [(_argument(one), one.help) for one in arguments])
    for panel, options in _panels(command, context):
        _write_panel(formatter, panel, map(_row, options))


def _panels(command: Any, context: Any) -> Iterator[tuple[str, list[Any]]]:
    """Options by panel, common ones first."""
    options = [one for one in command.get_params(context) if one.param_type_name == "option"]
    if len(options) <= FEW_OPTIONS:
        yield "Options", options
        return
    options.sort(key=lambda one: COMMON.index(one.name) if one.name in COMMON else len(COMMON))
    for panel in PANELS:
        yield panel, [one for one in options if (one.rich_help_panel or FINE_POINTS) == panel]


def _write_panel(formatter: Any, heading: str, rows: Iterable[tuple[str, str]]) -> None:
    """A name and its text a row, the texts of all panels in one column."""
    rows = list(rows)
    if not rows:
        return
    indent = " " * (NAME_COLUMNS + 4)
    with formatter.section(_bold(heading)):
        for name, text in rows:
            begin = f"  {name}".ljust(len(indent))
            if len(name) > NAME_COLUMNS:
                formatter.write(f"{begin}\n")
                begin = indent
            # Click's own would tear --multi-label
            line = textwrap.fill(
                text,
                formatter.width,
                initial_indent=begin,
                subsequent_indent=indent,
                break_on_hyphens=False,
            )
            formatter.write(f"{line}\n")


def _row(option: Any) -> tuple[str, str]:
    """An option's names with what it takes, and its text with what holds without it."""
    # of --cache and --no-cache, the one that changes something
    name = _joined(option.secondary_opts if option.default is True else option.opts)
    if not option.is_flag:
        name += f" {option.metavar}"
    text = option.help
    if option.required:
        return name, f"{text}  [required]"
    default = _default(option)
    return name, f"{text}  [default: {default}]" if default else text


def _default(option: Any) -> str:
    """What holds without the option, "" where it would do nothing."""
    if isinstance(option.show_default, str):
        return option.show_default
    if option.is_flag or option.default is None:
        return ""
    is_number = isinstance(option.default, float)
    return f"{option.default:g}" if is_number else str(option.default)


def _joined(names: Sequence[str]) -> str:
    return ", ".join(sorted(names, key=len))


def _argument(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _about(command: Any) -> str:
    lines = str(command.help).splitlines()
    return "\n".join(line for line in lines if not line.startswith(EXAMPLE)).strip()


def _bold(heading: str) -> str:
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        return f"\x1b[1m{heading}\x1b[0m"
    return heading
