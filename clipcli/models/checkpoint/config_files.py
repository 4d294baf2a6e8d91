"""`config.json` or `open_clip_config.json` beside the weights.

A key that would change the embeddings and is not known here is refused, never ignored.
"""

from __future__ import annotations

from pathlib import Path

from clipcli.errors import CheckpointError
from clipcli.models.checkpoint import hugging_face_config, open_clip_config
from clipcli.models.checkpoint.description import Description, read_json


def read_beside(weights_path: Path) -> Description | None:
    """The description in the folder of a weights file, or None where there is none.

    open_clip's comes first: repositories of timm's hold a config.json of their image tower alone.
    """
    for name, describe in (
        ("open_clip_config.json", open_clip_config.describe),
        ("config.json", hugging_face_config.describe),
    ):
        path = weights_path.with_name(name)
        if path.is_file():
            try:
                return describe(read_json(path), path)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise CheckpointError(
                    f"{path}: {type(error).__name__}: {error}; expected the configuration of a"
                    " CLIP as Hugging Face or open_clip writes it"
                ) from error
    return None
