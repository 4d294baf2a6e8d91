"""Options of which one is given: that of a higher layer switches the others off below it, so that
`--labels` at the prompt works though a file has labels_file."""

from __future__ import annotations

from collections.abc import Iterable

PARTNERS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            ("labels", "labels_file", "calibration", "probe"),
            ("template", "templates"),
            ("calibration", "template"),
            ("calibration", "templates"),
            ("probe", "template"),
            ("probe", "templates"),
            ("probe", "multi_label"),
            ("copy_to", "move_to", "link_to"),
            ("copy_to", "hard"),
            ("move_to", "hard"),
            ("reference", "precision"),
            ("reference", "fit"),
            ("paths_only", "format"),
            ("text", "text_file"),
            ("quiet", "verbose"),
        ),
    )
)


def is_switched_off(key: str, above: Iterable[str]) -> bool:
    """Whether one of the options above excludes this one."""
    return any(key in group and other in group for other in above for group in PARTNERS)
