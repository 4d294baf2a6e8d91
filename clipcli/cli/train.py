"""`clipcli train`: pairs of photographs and captions to a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from clipcli.cli.help import (
    FINE_POINTS,
    LEARNING,
    MODEL,
    OUTPUT,
    PHOTOS,
    in_panel,
    one_of,
    output_file,
)
from clipcli.cli.options.shared import (
    ActivationOption,
    CacheDir,
    Device,
    PathColumn,
    Quiet,
    Workers,
)
from clipcli.cli.options.takes import takes

Tower = Literal["image", "text"]
Mixed = Literal["auto", "fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class TrainOptions:
    """Where a run starts, how it learns, and where it is kept."""

    init: Annotated[
        str,
        in_panel(
            LEARNING,
            metavar="NAME",
            help="A checkpoint or published model to go on from; or, from scratch, tiny, tiny-vit,"
            " small, small-vit, new:ViT-B/32, ...",
        ),
    ]
    output: Annotated[
        str,
        output_file("A folder, or a name.safetensors.", metavar="DIR|FILE"),
    ]
    template: Annotated[
        list[str] | None,
        in_panel(
            LEARNING,
            metavar="TEXT",
            help="Caption around a folder's label, {} its place; repeatable.",
            show_default="a photo of a {}.",
        ),
    ] = None
    path_column: PathColumn = None
    caption_column: Annotated[
        str | None,
        in_panel(
            PHOTOS,
            metavar="NAME|N",
            help="The column of captions, likewise.",
            show_default="caption, title, ...",
        ),
    ] = None
    validate: Annotated[
        str | None,
        in_panel(
            LEARNING,
            metavar="DATA|SHARE",
            help="Pairs like DATA, or a share of it, such as 0.1, to measure each epoch on and keep"
            " the best model by.",
        ),
    ] = None
    epochs: Annotated[
        int,
        in_panel(
            LEARNING,
            min=1,
            metavar="N",
            help="Times that each photograph is seen; --resume may raise them.",
        ),
    ] = 32
    batch_size: Annotated[
        int,
        in_panel(
            LEARNING,
            min=2,
            metavar="N",
            help="Pairs compared with each other, in all processes together.",
        ),
    ] = 256
    micro_batch: Annotated[
        int | None,
        in_panel(
            FINE_POINTS,
            min=1,
            metavar="N",
            help="Pairs in memory at once; the gradient is the whole batch's.",
            show_default="the whole batch",
        ),
    ] = None
    lr: Annotated[
        float | None,
        in_panel(
            LEARNING,
            min=0.0,
            metavar="N",
            help="Highest learning rate.",
            show_default="1e-3, from a checkpoint 1e-5",
        ),
    ] = None
    weight_decay: Annotated[
        float,
        in_panel(
            FINE_POINTS,
            min=0.0,
            metavar="N",
            help="Of matrices, not of gains, biases and logit scale.",
        ),
    ] = 0.2
    warmup: Annotated[
        int | None,
        in_panel(
            FINE_POINTS,
            min=0,
            metavar="N",
            help="Steps to the highest learning rate.",
            show_default="a tenth of all, at most 2000",
        ),
    ] = None
    freeze: Annotated[
        Tower | None,
        in_panel(
            LEARNING,
            metavar=one_of(Tower),
            help="Keep one tower as it is.",
            show_default="both learn",
        ),
    ] = None
    flip: Annotated[
        bool,
        in_panel(LEARNING, "--flip", help="Mirror every other photograph, as CLIP did not."),
    ] = False
    truncate: Annotated[
        bool,
        in_panel(
            FINE_POINTS, "--truncate", help="Use the beginning of captions that are too long."
        ),
    ] = False
    seed: Annotated[
        int, in_panel(FINE_POINTS, min=0, metavar="N", help="Of weights, order and crops.")
    ] = 0
    device: Device = "auto"
    precision: Annotated[
        Mixed,
        in_panel(
            MODEL,
            metavar=one_of(Mixed),
            help="Mixed with fp32; auto is bf16 where the hardware has it.",
        ),
    ] = "auto"
    workers: Workers = None
    keep_mb: Annotated[
        int,
        in_panel(
            FINE_POINTS,
            min=0,
            metavar="N",
            help="Megabytes for resized photographs, to decode each once.",
        ),
    ] = 1024
    max_minutes: Annotated[
        float | None,
        in_panel(
            LEARNING,
            min=0.0,
            metavar="N",
            help="Stop after the step then at work, and save.",
            show_default="no limit",
        ),
    ] = None
    resume: Annotated[
        bool,
        in_panel(
            OUTPUT,
            "--resume",
            help="Go on with the run in --output, bit for bit; or with a new schedule for more"
            " --epochs.",
        ),
    ] = False
    activation: ActivationOption = None
    cache_dir: CacheDir = None
    quiet: Quiet = False


@takes(TrainOptions)
def train(
    *,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help=".csv, .tsv or .jsonl of path and caption, or a folder per label."
        ),
    ],
    train: TrainOptions,
) -> int:
    """Train a CLIP on photographs and their captions.

    Several processes: torchrun --nproc-per-node 2 -m clipcli train ...

    Example: clipcli train pairs.csv --init ViT-B/32 --freeze image -o pets
    Example: clipcli train photos/ --init tiny --epochs 14 --flip -o small.safetensors
    """
    from clipcli.cli.work import train as work

    return work.train(data, train)
