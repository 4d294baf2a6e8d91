"""Options of which one is given: that of a higher layer switches the others off below it, so that
`--labels` at the prompt works though a file has labels_file."""

from __future__ import annotations

from collections.abc import Iterable

PARTNERS = (
    {"labels", "labels_file", "calibration", "probe"},
    {"template", "templates"},
    *({taught, own} for taught in ("calibration", "probe") for own in ("template", "templates")),
    *({"probe", other} for other in ("multi_label", "min_probability", "unknown", "compare")),
    {"calibration", "compare"},
    {"copy_to", "move_to", "link_to"},
    {"copy_to", "hard"},
    {"move_to", "hard"},
    {"reference", "precision"},
    {"reference", "fit"},
    {"paths_only", "format"},
    {"paths", "embeddings"},
    {"paths", "text", "text_file"},
    {"quiet", "verbose"},
)


def switched_off_by(key: str, above: Iterable[str]) -> str | None:
    """The option above that excludes this one."""
    for other in above:
        # the name of a file decides its format; a format does not decide whether there is a file
        if (other, key) == ("output", "format"):
            return other
        if any({key, other} <= group for group in PARTNERS):
            return other
    return None
