"""Which keys a command takes: its options' long names, in a file and in the environment."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator
from typing import Any

from clipcli.cli.wrong_usage import wanted_value
from clipcli.errors import UsageError

NO_SETTINGS = ("help", "version")  # options that only show something
NEVER_IN_FILES = (*NO_SETTINGS, "yes")  # a yes in a file would be to all questions to come
# a file that one command writes is not to be written over by another
OF_ONE_COMMAND = ("output", "failures", "passed_over", "new_rows")
# names that were taken before every option had one; --no-cache would have had that of --cache-dir
VARIABLES = {"cache_dir": "CLIPCLI_CACHE", "cache": "CLIPCLI_NO_CACHE"}


def options_of(command: Any) -> dict[str, Any]:
    """A command's options by key."""
    return {
        one.name: one
        for one in command.params
        if one.param_type_name == "option" and one.name not in NO_SETTINGS
    }


def commands_by_table(root: Any) -> dict[str, Any]:
    """Commands by the table that is theirs in a file: `classify`, `probe_fit`."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name, one in getattr(command, "commands", {}).items():
            yield "_".join([*words, name]), one
            yield from below(one, (*words, name))

    return dict(below(root, ()))


def is_meant(key: str, command: Any, root: Any) -> bool:
    """Whether a key outside the tables holds for this command: it does where the option is the
    same as that of the first command which has one of this name."""
    first = next(one for one in commands_by_table(root).values() if key in options_of(one))
    if key in OF_ONE_COMMAND:
        return command is first
    return _kind(options_of(command)[key]) == _kind(options_of(first)[key])


def _kind(option: Any) -> tuple[Any, ...]:
    return option.type_descriptor.annotation, option.metavar, option.rich_help_panel


def variable(key: str) -> str:
    """The environment variable of an option."""
    return VARIABLES.get(key, f"CLIPCLI_{key.upper()}")


def from_environment(option: Any, command: Any, context: Any) -> Any:
    """What the option's variable says, None where it is not set or empty, or says what this command
    cannot take of an option that means another thing elsewhere: `models` has no rows in JSON."""
    name = variable(option.name)
    text = os.environ.get(name)
    if not text:
        return None
    value: Any = text
    if option.name == "exclude":
        value = [pattern.strip() for pattern in text.split(",") if pattern.strip()]
    elif option.multiple and option.name != "labels":
        value = text.splitlines()  # a template may well hold a comma
    elif option.multiple:
        value = [text]
    try:
        value = _checked(option, value, command, context, f"{name} {text}: ")
    except UsageError:
        if is_meant(option.name, command, context.find_root().command):
            raise
        return None
    return not value if option.name == "cache" else value


def from_file(option: Any, value: Any, command: Any, context: Any, place: str) -> Any:
    """A value of TOML as the option takes it. place: file and key, for messages."""
    kind = option.type_descriptor.annotation
    found = f"{place} is {reprlib.repr(value)}; "
    if option.multiple:
        fits = isinstance(value, str) or (
            isinstance(value, list) and all(isinstance(one, str) for one in value)
        )
    elif kind in (bool, int, float):
        fits = isinstance(value, (int, float) if kind is float else kind)
        fits = fits and isinstance(value, bool) == (kind is bool)
    else:
        fits = isinstance(value, str)
    if not fits:
        raise UsageError(f"{found}expected {_wanted(option, command)}")
    if option.multiple and isinstance(value, str):
        value = [value]
    elif option.name == "labels":
        # each is one label, also with a comma
        value = [f'"{one.replace(chr(34), chr(34) * 2)}"' for one in value]
    return _checked(option, value, command, context, found)


def _checked(option: Any, value: Any, command: Any, context: Any, found: str) -> Any:
    from typer import BadParameter

    try:
        return option.process_value(context, value)
    except BadParameter as error:
        raise UsageError(f"{found}expected {_wanted(option, command)}") from error


def _wanted(option: Any, command: Any) -> str:
    if option.is_flag:
        return "true or false"
    text = wanted_value(option, command)
    return f"{text}, in quotes" if option.type_descriptor.annotation is str else text
