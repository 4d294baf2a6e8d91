"""`clipcli train`: pairs of photographs and captions to a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from clipcli.cli.options import CacheDir, PathColumn, Quiet, takes
from clipcli.records import Activation


@dataclass(frozen=True)
class TrainOptions:
    """Where a run starts, how it learns, and where it is kept."""

    init: Annotated[
        str,
        typer.Option(
            help="A checkpoint or published model to go on from; or, from scratch, tiny, tiny-vit,"
            " small, small-vit, new:ViT-B/32, ..."
        ),
    ]
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="DIR|FILE", help="A folder, or a name.safetensors."),
    ]
    template: Annotated[
        list[str] | None,
        typer.Option(
            help="Caption around a folder's label, {} its place; repeatable.", show_default=False
        ),
    ] = None
    path_column: PathColumn = None
    caption_column: Annotated[
        str | None, typer.Option(metavar="NAME|N", help="The column of captions, likewise.")
    ] = None
    epochs: Annotated[int, typer.Option(min=1, help="Times that each photograph is seen.")] = 32
    batch_size: Annotated[
        int, typer.Option(min=2, help="Pairs compared with each other, in all processes together.")
    ] = 256
    micro_batch: Annotated[
        int | None,
        typer.Option(min=1, help="Pairs in memory at once; the gradient is the whole batch's."),
    ] = None
    lr: Annotated[
        float | None,
        typer.Option(min=0.0, help="Highest learning rate; else 1e-3, or 1e-5 from a checkpoint."),
    ] = None
    weight_decay: Annotated[
        float, typer.Option(min=0.0, help="Of matrices, not of gains, biases and logit scale.")
    ] = 0.2
    warmup: Annotated[
        int | None,
        typer.Option(min=0, help="Steps to the highest rate; else a tenth, at most 2000."),
    ] = None
    freeze: Annotated[
        Literal["image", "text"] | None, typer.Option(help="Keep one tower as it is.")
    ] = None
    flip: Annotated[
        bool, typer.Option("--flip", help="Mirror every other photograph, as CLIP did not.")
    ] = False
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Use the beginning of captions that are too long.")
    ] = False
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and crops.")] = 0
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "fp16", "bf16"],
        typer.Option(help="Mixed with fp32; auto is bf16 where the hardware has it."),
    ] = "auto"
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads that decode ahead.")
    ] = None
    keep_mb: Annotated[
        int, typer.Option(min=0, help="Memory for resized photographs, to decode each once.")
    ] = 1024
    max_minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Stop after the step then at work, and save.")
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --output, bit for bit.")
    ] = False
    activation: Annotated[
        Activation | None, typer.Option(help="Of a bare checkpoint file that does not say.")
    ] = None
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
    """Train a CLIP on photographs and their captions, from scratch or from a checkpoint.

    Several processes: torchrun --nproc-per-node 2 -m clipcli train ...

    Example: clipcli train photos.csv --init ViT-B/32 --freeze image -o run/
    """
    from clipcli.cli.work import train as work

    return work.train(data, train)
