"""Groups of options: `takes` puts the fields of dataclasses into a command's signature, where Typer
reads them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import cache, wraps
from typing import Any, get_type_hints

from clipcli.cli import talk
from clipcli.errors import UsageError


def takes(*groups: type) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command the options of these groups; it is called with an instance of each.

    The command's own parameters come first, then the groups'; in its help, each in its panel. What
    is said goes to the file of an option `log`, if there is one and it names one.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        hints = get_type_hints(command, include_extras=True)
        own = [
            parameter.replace(annotation=hints[name])
            for name, parameter in inspect.signature(command).parameters.items()
            if hints[name] not in groups
        ]
        shared = [option for group in groups for option in _parameters(group)]

        @wraps(command)
        def wrapper(**values: Any) -> int:
            for name, value in values.items():
                if isinstance(value, float) and not math.isfinite(value):
                    option = "--" + name.replace("_", "-")
                    raise UsageError(f"{option} {value}: expected a finite number")
            log = values.get("log")
            instances = [
                group(**{option.name: values.pop(option.name) for option in _parameters(group)})
                for group in groups
            ]
            if log is not None:
                files = [getattr(group, "files", {}) for group in instances]
                talk.log_to(log, *(path for some in files for path in some.values()))
            return command(**values, **dict(zip(group_names, instances, strict=True)))

        group_names = [next(n for n, hint in hints.items() if hint is group) for group in groups]
        parameters = own + shared
        wrapper.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {option.name: option.annotation for option in parameters}
        return wrapper

    return decorate


@cache  # most groups are those of several commands
def _parameters(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
