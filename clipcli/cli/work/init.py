"""A clipcli.toml to begin with."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from clipcli.cli import talk
from clipcli.errors import OutputError, UsageError
from clipcli.files.part_file import write_whole
from clipcli.files.settings_file import NAME
from clipcli.models.on_disk.default_model import config_path

logger = logging.getLogger(__name__)

TEXT = """\
# Settings of clipcli: the long names of its options, with _ in place of -.
# Take the # away in front of a line to set it; clipcli config shows what holds.
# The command line beats the environment (CLIPCLI_TOP_K=3), which beats this file.
# Paths count from the folder of this file. In a folder of photographs only labels, labels_file,
# template, templates, top_k, multi_label, min_probability, unknown, exclude and fit are allowed.

# labels = ["dog", "cat", "polar bear"]
# labels_file = "labels.txt"          # or one a line in a file
# calibration = "pets.json"           # or what clipcli calibrate wrote
# probe = "pets.probe"                # or what clipcli probe fit wrote

# template = "a photo of a {}."       # around each label; a list for several
# templates = "imagenet80"            # or a set: a name (see clipcli prompts) or a file

# top_k = 1                           # labels for each photograph
# multi_label = true                  # every label that is there
# min_probability = 0.5               # leave out labels below this, from 0 to 1
# unknown = "other"                   # the name of what fits no label

# exclude = ["*.png", "thumbnails"]   # names to pass over

# model = "ViT-B/16"                  # see clipcli models
# device = "auto"                     # auto, cpu, cuda, cuda:1 or mps

# output = "labels.csv"               # of clipcli classify; another command's in its own table
# format = "csv"
# failures = "failures.csv"

# What one command alone is to use beats what stands above.
# [embed]
# output = "photos.npz"
"""


def write(folder: str | None, user: bool, quiet: bool) -> int:
    """Raises OutputError where a file is there already, or none can be written."""
    if quiet:
        talk.leave_out_notes()
    if user and folder is not None:
        raise UsageError(f"--user writes into your configuration directory; leave {folder} out")
    path = config_path() if user else Path(folder or os.curdir) / NAME
    if path is None:
        raise OutputError("no home directory to keep settings in; set XDG_CONFIG_HOME")
    if os.path.lexists(path):
        raise OutputError(f"{path}: is there already, and stays as it is")
    if user:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    write_whole(path, TEXT.encode())
    logger.info(f"{path}: written; take the # away in front of what you want to set")
    return 0
