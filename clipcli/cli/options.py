"""Every shared option and its default, once. A group is a dataclass; `takes` puts its fields
into a command's signature, where Typer reads them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from clipcli.errors import UsageError
from clipcli.files.rows import RowFormat
from clipcli.records import Activation, Fit, Precision

Paths = Annotated[
    list[str] | None,
    typer.Argument(metavar="PATH...", help="Photographs, folders, or - for a list on stdin."),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say nothing but what went wrong.", show_default=False)
]
Labels = Annotated[
    list[str] | None, typer.Option(metavar="A,B,C", help="Labels, separated by commas.")
]
LabelsFile = Annotated[
    str | None,
    typer.Option(metavar="FILE", help='One a line: label, or label = word | "whole prompt".'),
]
Template = Annotated[
    list[str] | None,
    typer.Option(help="Prompt around a label, {} its place; repeatable.", show_default=False),
]
Templates = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help="A set of templates; see clipcli prompts.")
]
LeaveOutRare = Annotated[
    bool,
    typer.Option("--leave-out-rare", help="Go on without labels that have too few photographs."),
]
PathColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME|N", help="The column of paths in a CSV: its name, or its number."),
]
Failures = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write what failed, and why, as CSV.")
]
CacheDir = Annotated[
    str | None, typer.Option(metavar="DIR", help="Of models and embeddings; else CLIPCLI_CACHE.")
]


@dataclass(frozen=True)
class ModelOptions:
    """Which model, where and how exactly it runs."""

    model: Annotated[
        str | None,
        typer.Option(help="A name (see clipcli models) or a path; auto picks ViT-B/32 or lite."),
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"
    precision: Annotated[
        Precision,
        typer.Option(help="auto is bf16 on CPUs that have it, else fp32; fp16 on accelerators."),
    ] = "auto"
    activation: Annotated[
        Activation | None, typer.Option(help="Of a bare checkpoint file that does not say.")
    ] = None
    reference: Annotated[
        bool,
        typer.Option("--reference", help="The reference's preprocessing and float32, exactly."),
    ] = False
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Use the beginning of texts that are too long.")
    ] = False
    cache_dir: CacheDir = None
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Remember embeddings between runs.")
    ] = True
    compile: Annotated[
        bool,
        typer.Option("--compile", help="Compile the model first, for millions of photographs."),
    ] = False


@dataclass(frozen=True)
class LabelOptions:
    """Which labels there are, and how a photograph gets them."""

    labels: Labels = None
    labels_file: LabelsFile = None
    template: Template = None
    templates: Templates = None
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Labels for each photograph; 1, or all there are.")
    ] = None
    multi_label: Annotated[
        bool,
        typer.Option("--multi-label", help="Every label that is there; better with --calibration."),
    ] = False
    calibration: Annotated[
        str | None, typer.Option(metavar="FILE", help="Labels and thresholds of clipcli calibrate.")
    ] = None
    probe: Annotated[
        str | None, typer.Option(metavar="FILE", help="Labels taught by clipcli probe fit.")
    ] = None
    min_probability: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, metavar="P", help="Leave out labels below this."),
    ] = None
    unknown: Annotated[
        str | None, typer.Option(metavar="NAME", help="Call photographs that fit no label this.")
    ] = None


@dataclass(frozen=True)
class LabelledOptions:
    """Photographs whose labels are known, the labels to choose from, and what is said meanwhile."""

    labelled: Annotated[
        str,
        typer.Argument(
            metavar="LABELLED",
            help="A folder with one sub-folder for each label, or a CSV of path,label.",
        ),
    ]
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B,C", help="To choose from, if not the true labels alone."),
    ] = None
    labels_file: LabelsFile = None
    path_column: PathColumn = None
    label_column: Annotated[
        str | None, typer.Option(metavar="NAME|N", help="The column of labels in a CSV, likewise.")
    ] = None
    failures: Failures = None
    quiet: Quiet = False


@dataclass(frozen=True)
class PhotoOptions:
    """Which photographs, and how they are read."""

    recursive: Annotated[bool, typer.Option(help="Look into folders below the folders.")] = True
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Pass over such names; repeatable.")
    ] = None
    null: Annotated[
        bool,
        typer.Option(
            "--null", "-0", help="Lists of paths, on stdin and stdout, are NUL-separated."
        ),
    ] = False
    fit: Annotated[
        Fit, typer.Option(help="Into the model's square: its middle, all on a border, squashed.")
    ] = "crop"
    exact: Annotated[
        bool, typer.Option("--exact", help="Decode large JPEGs in full: slower, hardly different.")
    ] = False
    max_megapixels: Annotated[
        float, typer.Option(min=0.0, metavar="N", help="Fail photographs larger than this.")
    ] = 250.0
    batch_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Photographs in one forward pass.")
    ] = None
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads that decode ahead.")
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    """Where results and failures go, and what is said meanwhile."""

    format: Annotated[
        RowFormat | None,
        typer.Option(help="Of the rows; by default the suffix of --output, or csv."),
    ] = None
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout.")
    ] = None
    failures: Failures = None
    passed_over: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write what was passed over, as CSV.")
    ] = None
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Name each file that was passed over, and why.")
    ] = False
    allow_empty: Annotated[
        bool,
        typer.Option("--allow-empty", help="No photographs are all right, and give no rows."),
    ] = False
    quiet: Quiet = False

    @property
    def files(self) -> dict[str, str | None]:
        """What each option writes."""
        return {"output": self.output, "failures": self.failures, "passed_over": self.passed_over}


def takes(*groups: type) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command the options of these groups; it is called with an instance of each.

    The command's own parameters come first in its help, then the groups'.
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
            instances = [
                group(**{option.name: values.pop(option.name) for option in _parameters(group)})
                for group in groups
            ]
            return command(**values, **dict(zip(group_names, instances, strict=True)))

        group_names = [next(n for n, hint in hints.items() if hint is group) for group in groups]
        parameters = own + shared
        wrapper.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {option.name: option.annotation for option in parameters}
        return wrapper

    return decorate


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
