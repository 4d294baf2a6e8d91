"""`clipcli classify`: photographs and labels to rows."""

from __future__ import annotations

from clipcli.cli.options.keywords import TagOptions
from clipcli.cli.options.shared import (
    LabelOptions,
    ModelOptions,
    OutputOptions,
    Paths,
    PhotoOptions,
)
from clipcli.cli.options.sorting import SortOptions
from clipcli.cli.options.takes import takes
from clipcli.cli.options.updating import UpdateOptions


@takes(
    LabelOptions,
    PhotoOptions,
    ModelOptions,
    OutputOptions,
    TagOptions,
    SortOptions,
    UpdateOptions,
)
def classify(
    *,
    paths: Paths = None,
    label: LabelOptions,
    model: ModelOptions,
    photo: PhotoOptions,
    out: OutputOptions,
    tag: TagOptions,
    sort: SortOptions,
    update: UpdateOptions,
) -> int:
    """Label photographs with your own words.

    Example: clipcli classify photos/ --labels dog,cat,tiger -o labels.csv
    Example: clipcli classify photos/ --labels dog,cat --multi-label --unknown other
    Example: clipcli classify photos/ --labels dog,cat --multi-label --write-xmp
    """
    from clipcli.cli.work import classify as work

    return work.classify(paths, label, model, photo, out, tag, sort, update)
