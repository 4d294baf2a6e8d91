"""`clipcli classify`: photographs and labels to rows."""

from __future__ import annotations

from clipcli.cli.options import (
    LabelOptions,
    ModelOptions,
    OutputOptions,
    Paths,
    PhotoOptions,
    takes,
)


@takes(LabelOptions, PhotoOptions, ModelOptions, OutputOptions)
def classify(
    *,
    paths: Paths = None,
    label: LabelOptions,
    model: ModelOptions,
    photo: PhotoOptions,
    out: OutputOptions,
) -> int:
    """Label photographs with your own words.

    Example: clipcli classify photos/ --labels dog,cat,tiger -o labels.csv
    Example: clipcli classify photos/ --labels dog,cat --multi-label --unknown other
    """
    from clipcli.cli.work import classify as work

    return work.classify(paths, label, model, photo, out)
