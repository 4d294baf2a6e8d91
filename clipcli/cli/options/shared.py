"""Every shared option and its default, once. A group is a dataclass, which `takes` joins to a
command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from clipcli.cli.help import (
    FINE_POINTS,
    LABELS,
    MODEL,
    OUTPUT,
    PHOTOS,
    in_panel,
    one_of,
    output_file,
)
from clipcli.cli.options import completion
from clipcli.files.rows import RowFormat
from clipcli.records import Activation, Fit, Precision, RawFiles

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH...",
        help="Photographs (their first page or frame), folders, or - for a list on stdin.",
    ),
]
Quiet = Annotated[bool, in_panel(OUTPUT, "--quiet", "-q", help="Say nothing but what went wrong.")]
Log = Annotated[
    str | None,
    in_panel(OUTPUT, metavar="FILE", help="Append what is said, with times; also with --quiet."),
]
Labels = Annotated[
    list[str] | None, in_panel(LABELS, metavar="A,B,C", help="Labels, separated by commas.")
]
Calibration = Annotated[
    str | None,
    in_panel(
        LABELS,
        metavar="FILE",
        help="Labels and thresholds of clipcli calibrate.",
        autocompletion=completion.files(".json"),
    ),
]
Probe = Annotated[
    str | None,
    in_panel(
        LABELS,
        metavar="FILE",
        help="Labels taught by clipcli probe fit.",
        autocompletion=completion.files(".probe", ".safetensors"),
    ),
]
LabelsFile = Annotated[
    str | None,
    in_panel(
        LABELS,
        metavar="FILE",
        help='Labels, one a line: label, or label = word | "whole prompt".',
        autocompletion=completion.files(".txt"),
    ),
]
Template = Annotated[
    list[str] | None,
    in_panel(
        LABELS,
        metavar="TEXT",
        help="Prompt around a label, {} its place; repeatable.",
        show_default="a photo of a {}.",
    ),
]
Templates = Annotated[
    str | None,
    in_panel(
        LABELS,
        metavar="NAME|FILE",
        help="A set of templates: a name (see clipcli prompts) or a file.",
        show_default="simple",
        autocompletion=completion.template_sets,
    ),
]
LeaveOutRare = Annotated[
    bool,
    in_panel(LABELS, "--leave-out-rare", help="Go on without labels of too few photographs."),
]
PathColumn = Annotated[
    str | None,
    in_panel(
        PHOTOS,
        metavar="NAME|N",
        help="The column of paths in a CSV: its name, or its number.",
        show_default="path, file, ...",
    ),
]
Failures = Annotated[
    str | None, in_panel(OUTPUT, metavar="FILE", help="Write what failed, and why, as CSV.")
]
PassedOverFile = Annotated[
    str | None, in_panel(OUTPUT, metavar="FILE", help="Write what was passed over, as CSV.")
]
Verbose = Annotated[
    bool, in_panel(OUTPUT, "--verbose", help="Name each file that was passed over, and why.")
]
CacheDir = Annotated[
    str | None,
    in_panel(
        FINE_POINTS,
        metavar="DIR",
        help="Where models and embeddings are kept.",
        show_default="CLIPCLI_CACHE, else your cache directory",
    ),
]
TableFormatOption = Annotated[
    Literal["table", "csv"],
    in_panel(OUTPUT, "--format", metavar="table|csv", help="Of what is printed."),
]
Device = Annotated[
    str,
    in_panel(
        MODEL,
        metavar="NAME",
        help="auto, cpu, cuda, cuda:1 or mps; auto is a GPU where there is one.",
    ),
]
ActivationOption = Annotated[
    Activation | None,
    in_panel(
        FINE_POINTS,
        metavar=one_of(Activation),
        help="Of a bare checkpoint file that does not say.",
        show_default="quickgelu",
    ),
]
Workers = Annotated[
    int | None,
    in_panel(
        FINE_POINTS,
        min=1,
        metavar="N",
        help="Threads that decode ahead.",
        show_default="one a core",
    ),
]


@dataclass(frozen=True)
class ModelOptions:
    """Which model, where and how exactly it runs."""

    model: Annotated[
        str | None,
        in_panel(
            MODEL,
            metavar="NAME",
            help="A name (see clipcli models), hf:ORG/NAME, or a path.",
            show_default="auto; clipcli models use NAME changes it",
            autocompletion=completion.models,
        ),
    ] = None
    device: Device = "auto"
    precision: Annotated[
        Precision,
        in_panel(
            MODEL,
            metavar=one_of(Precision),
            help="auto is bf16 on CPUs that have it, else fp32; fp16 on accelerators.",
        ),
    ] = "auto"
    activation: ActivationOption = None
    reference: Annotated[
        bool,
        in_panel(
            FINE_POINTS, "--reference", help="The reference's preprocessing and float32, exactly."
        ),
    ] = False
    truncate: Annotated[
        bool,
        in_panel(FINE_POINTS, "--truncate", help="Use the beginning of texts that are too long."),
    ] = False
    cache_dir: CacheDir = None
    cache: Annotated[
        bool,
        in_panel(
            FINE_POINTS,
            "--cache/--no-cache",
            help="Do not remember embeddings between runs.",
        ),
    ] = True
    compile: Annotated[
        bool,
        in_panel(
            FINE_POINTS, "--compile", help="Compile the model first, for millions of photographs."
        ),
    ] = False


@dataclass(frozen=True)
class LabelOptions:
    """Which labels there are, and how a photograph gets them."""

    labels: Labels = None
    labels_file: LabelsFile = None
    top_k: Annotated[
        int | None,
        in_panel(
            LABELS,
            min=1,
            metavar="N",
            help="Labels for each photograph, best first.",
            show_default="1; with --multi-label, all that are there",
        ),
    ] = None
    multi_label: Annotated[
        bool,
        in_panel(
            LABELS, "--multi-label", help="Every label that is there; better with --calibration."
        ),
    ] = False
    min_probability: Annotated[
        float | None,
        in_panel(
            LABELS,
            min=0.0,
            max=1.0,
            metavar="P",
            help="Leave out labels below this, from 0 to 1.",
            show_default="0; with --multi-label, 0.5",
        ),
    ] = None
    unknown: Annotated[
        str | None,
        in_panel(LABELS, metavar="NAME", help="Call photographs that fit no label this."),
    ] = None
    template: Template = None
    templates: Templates = None
    calibration: Calibration = None
    probe: Probe = None


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
        in_panel(
            LABELS, metavar="A,B,C", help="Labels to choose from.", show_default="the true labels"
        ),
    ] = None
    labels_file: LabelsFile = None
    path_column: PathColumn = None
    label_column: Annotated[
        str | None,
        in_panel(
            PHOTOS,
            metavar="NAME|N",
            help="The column of labels in a CSV, likewise.",
            show_default="label, class, ...",
        ),
    ] = None
    failures: Failures = None
    passed_over: PassedOverFile = None
    verbose: Verbose = False
    quiet: Quiet = False
    log: Log = None

    @property
    def files(self) -> dict[str, str | None]:
        """What each option writes."""
        return {"failures": self.failures, "passed_over": self.passed_over}


@dataclass(frozen=True)
class PhotoOptions:
    """Which photographs, and how they are read."""

    recursive: Annotated[
        bool, in_panel(PHOTOS, help="Leave out the folders below the folders.")
    ] = True
    exclude: Annotated[
        list[str] | None, in_panel(PHOTOS, metavar="GLOB", help="Pass over such names; repeatable.")
    ] = None
    raw: Annotated[
        RawFiles,
        in_panel(
            PHOTOS,
            metavar=one_of(RawFiles),
            help="Camera raw files: those with no JPEG or HEIC of their name beside them, or all.",
        ),
    ] = "alone"
    null: Annotated[
        bool,
        in_panel(PHOTOS, "--null", "-0", help="Paths on stdin and stdout end with a NUL."),
    ] = False
    fit: Annotated[
        Fit,
        in_panel(
            FINE_POINTS,
            metavar=one_of(Fit),
            help="Into the model's square: as it was trained, all on a border, squashed.",
        ),
    ] = "crop"
    exact: Annotated[
        bool,
        in_panel(
            FINE_POINTS, "--exact", help="Decode large JPEGs in full: slower, hardly different."
        ),
    ] = False
    max_megapixels: Annotated[
        float, in_panel(PHOTOS, min=0.0, metavar="N", help="Fail photographs larger than this.")
    ] = 250.0
    batch_size: Annotated[
        int | None,
        in_panel(
            FINE_POINTS,
            min=1,
            metavar="N",
            help="Photographs in one forward pass.",
            show_default="what suits the device",
        ),
    ] = None
    workers: Workers = None


@dataclass(frozen=True)
class OutputOptions:
    """Where results and failures go, and what is said meanwhile."""

    output: Annotated[
        str | None,
        output_file("Write the rows here.", show_default="stdout"),
    ] = None
    format: Annotated[
        RowFormat | None,
        in_panel(
            OUTPUT,
            metavar=one_of(RowFormat),
            help="Of the rows.",
            show_default="the suffix of --output, else csv; a table on a terminal",
        ),
    ] = None
    failures: Failures = None
    passed_over: PassedOverFile = None
    verbose: Verbose = False
    allow_empty: Annotated[
        bool,
        in_panel(OUTPUT, "--allow-empty", help="No photographs are all right, and give no rows."),
    ] = False
    quiet: Quiet = False
    log: Log = None

    @property
    def files(self) -> dict[str, str | None]:
        """What each option writes."""
        return {"output": self.output, "failures": self.failures, "passed_over": self.passed_over}
