"""Named sets of templates, as published, and sets from a file.

seven and imagenet80: openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb; cifar18: the
same repository, data/prompts.md, for CIFAR-10 and CIFAR-100. MIT licence, see
clipcli/models/vocabulary/LICENSE.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from clipcli.errors import UsageError
from clipcli.labels.label import DEFAULT_TEMPLATE, check_templates, read_texts_file

SEVEN = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)

CIFAR18 = (
    "a photo of a {}.",
    "a blurry photo of a {}.",
    "a black and white photo of a {}.",
    "a low contrast photo of a {}.",
    "a high contrast photo of a {}.",
    "a bad photo of a {}.",
    "a good photo of a {}.",
    "a photo of a small {}.",
    "a photo of a big {}.",
    "a photo of the {}.",
    "a blurry photo of the {}.",
    "a black and white photo of the {}.",
    "a low contrast photo of the {}.",
    "a high contrast photo of the {}.",
    "a bad photo of the {}.",
    "a good photo of the {}.",
    "a photo of the small {}.",
    "a photo of the big {}.",
)

IMAGENET80 = (
    "a bad photo of a {}.",
    "a photo of many {}.",
    "a sculpture of a {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.",
    "a rendering of a {}.",
    "graffiti of a {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a tattoo of a {}.",
    "the embroidered {}.",
    "a photo of a hard to see {}.",
    "a bright photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a drawing of a {}.",
    "a photo of my {}.",
    "the plastic {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a painting of the {}.",
    "a painting of a {}.",
    "a pixelated photo of the {}.",
    "a sculpture of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a plastic {}.",
    "a photo of the dirty {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a rendering of the {}.",
    "a {} in a video game.",
    "a photo of one {}.",
    "a doodle of a {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "the origami {}.",
    "the {} in a video game.",
    "a sketch of a {}.",
    "a doodle of the {}.",
    "a origami {}.",
    "a low resolution photo of a {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a photo of a large {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a photo of a weird {}.",
    "a blurry photo of a {}.",
    "a cartoon {}.",
    "art of a {}.",
    "a sketch of the {}.",
    "a embroidered {}.",
    "a pixelated photo of a {}.",
    "itap of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a plushie {}.",
    "a photo of the nice {}.",
    "a photo of the small {}.",
    "a photo of the weird {}.",
    "the cartoon {}.",
    "art of the {}.",
    "a drawing of the {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "the plushie {}.",
    "a dark photo of a {}.",
    "itap of a {}.",
    "graffiti of the {}.",
    "a toy {}.",
    "itap of my {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "a tattoo of the {}.",
)

TEMPLATE_SETS: dict[str, tuple[str, ...]] = {
    "simple": (DEFAULT_TEMPLATE,),
    "seven": SEVEN,
    "imagenet80": IMAGENET80,
    "cifar18": CIFAR18,
}


def set_name(templates: Sequence[str]) -> str | None:
    """The name of a published set of several templates; None for any others."""
    for name, published in TEMPLATE_SETS.items():
        if len(published) > 1 and published == tuple(templates):
            return name
    return None


def choose_templates(given: Sequence[str] | None, named: str | None) -> list[str]:
    """Those of `--template`, or of a set's name or file, or the default.

    Raises UsageError for both together, an unknown name, or a template without its place.
    """
    if given and named:
        raise UsageError("--template and --templates both name templates; give one of them")
    templates = read_templates(named) if named else list(given or [DEFAULT_TEMPLATE])
    check_templates(templates)
    return templates


def read_templates(name_or_path: str) -> list[str]:
    """A set by name, or the lines of a UTF-8 file, one template each.

    A name wins over a file of that name; `./simple` is a path.
    """
    if name_or_path in TEMPLATE_SETS:
        return list(TEMPLATE_SETS[name_or_path])
    if not os.path.exists(name_or_path):
        raise UsageError(
            f"--templates {name_or_path}: no such file and no set of that name; expected a file of"
            f" templates, one a line, or one of {', '.join(TEMPLATE_SETS)}"
        )
    return read_texts_file(name_or_path)
