"""Labels and templates of benchmark.py's section of prompts."""

from __future__ import annotations

# 20 kinds of picture in 4 sentences, 10 colours of 20 things: as short as CLIP's own 80
KINDS = (
    "photo,bad photo,good photo,large photo,small photo,blurry photo,bright photo,dark photo,"
    "cropped photo,close-up photo,low resolution photo,black and white photo,jpeg corrupted photo,"
    "painting,drawing,sculpture,rendering,cartoon,tattoo,toy"
).split(",")
SENTENCES = ("a {} of a {{}}.", "a {} of the {{}}.", "a {} of many {{}}.", "the {} of my {{}}.")
TEMPLATES = [sentence.format(kind) for kind in KINDS for sentence in SENTENCES]
COLOURS = "red green blue yellow white black grey brown purple orange".split()
THINGS = (
    "car bird flower house boat chair bottle train bicycle dog horse fish coat balloon tent cup"
    " door guitar umbrella suitcase"
).split()
MANY_LABELS = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
