"""Command lines typed wrong: what was found, what was expected, what to do, in one line.

Typer's messages name neither, and its words change between versions, so its exceptions are only
asked which option or command they are about.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    import typer

# what is meant so surely that it is done
SAME = {
    ("version",): ["--version"],
    ("models", "list"): ["models"],
    ("models", "ls"): ["models"],
    ("prompts", "list"): ["prompts"],
    ("cache", "list"): ["cache"],
}
# what others call it; letters are compared where a word is not here
COMMANDS = {
    "label": "classify",
    "tag": "classify",
    "predict": "classify",
    "search": "similar",
    "find": "similar",
    "evaluate": "eval",
    "test": "eval",
    "encode": "embed",
    "download": "models download",
    "models search": "models",
    "models info": "models show",
    "models get": "models download",
    "models pull": "models download",
    "cache delete": "cache clear",
    "cache show": "cache info",
    "probe train": "probe fit",
}
OPTIONS = {
    "--csv": "--format csv",
    "--json": "--format json",
    "--jsonl": "--format jsonl",
    "--gpu": "--device cuda",
    "--cuda": "--device cuda",
    "--cpu": "--device cpu",
    "--threshold": "--min-probability",
    "-k": "--top-k",
    "-n": "--top-k",
    "-m": "--model",
    "-l": "--labels",
    "-f": "--format",
}


def straightened(arguments: Sequence[str]) -> list[str]:
    """The command line that is meant: `models list` is `models`, `help embed` is `embed --help`."""
    if not arguments:
        return ["--help"]
    if arguments[0] == "help":
        return [*arguments[1:], "--help"]
    for n_words in (1, 2):
        same = SAME.get(tuple(arguments[:n_words]))
        if same is not None:
            return [*same, *arguments[n_words:]]
    return list(arguments)


def option_as_value(root: Any, arguments: Sequence[str]) -> str | None:
    """One line where an option stands in the place of another's value, which Click would take."""
    command = root
    known = _options(command)
    words = iter(arguments)
    for word in words:
        if word == "--":
            return None
        if word in getattr(command, "commands", {}):
            command = command.commands[word]
            known |= _options(command)
        option = known.get(word)
        if option is None or option.is_flag:
            continue
        value = next(words, "")
        if value.partition("=")[0] in [*known, "--help", "-h"]:
            outright = f"{_shown_name(option)}={value}"
            return (
                f"{word}: expected a value, found the option {value}; {outright}, if that is the"
                " value"
            )
    return None


def explained(error: typer.TyperException, root: Any, arguments: Sequence[str]) -> str:
    """One line about a command line that `root`, the command of all commands, did not take."""
    context = getattr(error, "ctx", None)
    if context is None:
        command, typed = _command_typed(root, arguments)
    else:
        command, typed = context.command, context.command_path
    message = error.format_message()
    kind = type(error).__name__
    if kind == "NoSuchOption":
        return _no_such_option(error.option_name, command, typed)  # type: ignore[attr-defined]
    if kind == "BadOptionUsage":
        name = error.option_name  # type: ignore[attr-defined]
        (option,) = [one for one in command.params if name in _names(one)]
        if option.is_flag:
            return f"{name}: takes no value; leave out what stands behind its ="
        return f"{name}: nothing behind it; expected {wanted_value(option, command)}"
    if kind == "MissingParameter":
        parameter = error.param  # type: ignore[attr-defined]
        what = _shown_name(parameter)
        from clipcli.cli.help import examples

        return (
            f"no {what}; expected {wanted_value(parameter, command)}; as in: {examples(command)[0]}"
        )
    if kind == "BadParameter":
        parameter = error.param  # type: ignore[attr-defined]
        found = _value(error)
        given = _shown_name(parameter) + ("" if found is None else f" {found}")
        return f"{given}: expected {wanted_value(parameter, command)}"
    if hasattr(command, "commands"):
        name = next((word for word in arguments if repr(word) in message), "")
        if name:
            return _no_such_command(name, command, typed, arguments)
    extra = re.fullmatch(r"Got unexpected extra argument\(?s?\)? \((.*)\)\.?", message, re.DOTALL)
    if extra is not None:
        pieces = " ".join([typed, *map(_shown_name, _arguments(command))])
        return f"{extra[1]}: more than expected; the command is {pieces}"
    return f"{message[:1].lower()}{message[1:].rstrip('.')}; see {typed} --help"


def _no_such_option(name: str, command: Any, typed: str) -> str:
    known = list(_options(command))
    meant = OPTIONS.get(name, "")
    if meant.split(" ")[0] not in known:
        longer = [one for one in known if one.startswith(name) and name != "-"]
        meant = next(iter([*longer, *_nearest(name, known)]), "")
    if meant:
        return f"{name}: {typed} has no such option; did you mean {meant}"
    for other, below in getattr(command, "commands", {}).items():
        if any(name in _names(parameter) for parameter in below.params):
            return f"{name}: comes behind a command; expected {typed} {other} ... {name}"
    return f"{name}: {typed} has no such option; see {typed} --help"


def _no_such_command(name: str, group: Any, typed: str, arguments: Sequence[str]) -> str:
    below = " ".join([*typed.split()[1:], name])
    names = list(group.commands)
    near = [*_nearest(name, names), *(one for one in names if one.startswith(name))]
    meant = COMMANDS.get(below) or " ".join([*typed.split()[1:], *near[:1]])
    if below in COMMANDS or near:
        return f"{below}: no such command; did you mean clipcli {meant}"
    if typed == "clipcli" and (os.path.exists(name) or re.search(r"[/\\.]", name)):
        line = shlex.join(["clipcli", "classify", *arguments])
        labels = "" if any(word.startswith("--labels") for word in arguments) else " --labels A,B,C"
        return f"{name}: a path where a command was expected; did you mean {line}{labels}"
    return f"{below}: no such command; expected {typed} {_either(names)}"


def _command_typed(root: Any, arguments: Iterable[str]) -> tuple[Any, str]:
    """The command that the arguments name, and how it is called."""
    command, typed = root, "clipcli"
    for word in arguments:
        if word in getattr(command, "commands", {}):
            command, typed = command.commands[word], f"{typed} {word}"
    return command, typed


def wanted_value(parameter: Any, command: Any) -> str:
    """What an option or an argument takes, in words."""
    kind, info = get_args(get_type_hints(command.callback, include_extras=True)[parameter.name])[:2]
    if type(None) in get_args(kind):
        kind = next(one for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is Literal:
        return _either(get_args(kind))
    if kind in (int, float):
        number = "a whole number" if kind is int else "a number"
        low = "" if info.min is None else f" from {info.min:g}"
        return number + low + ("" if info.max is None else f" to {info.max:g}")
    words = str(parameter.help).rstrip(".")
    words = words if words[1:2].isupper() else words[:1].lower() + words[1:]
    if parameter.param_type_name == "argument":
        return words
    return f"{parameter.opts[0]} {parameter.metavar}: {words}" if parameter.metavar else words


def _value(error: Exception) -> Any:
    """What was given, where the library that looked at it says so."""
    errors = getattr(error.__cause__, "errors", None)
    return errors()[0].get("input") if errors is not None else None


def _shown_name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return str(parameter.opts[0])


def _arguments(command: Any) -> list[Any]:
    return [one for one in command.params if one.param_type_name == "argument"]


def _nearest(name: str, names: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(name, names, n=1)


def _either(names: Sequence[str]) -> str:
    *others, last = map(str, names)
    return f"{', '.join(others)} or {last}" if others else last


def _options(command: Any) -> dict[str, Any]:
    return {name: one for one in command.params for name in _names(one) if name[0] == "-"}


def _names(parameter: Any) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts]
