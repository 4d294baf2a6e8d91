"""A calibration from labelled photographs, alone and side by side in pairs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.embedder import Embedder
from clipcli.embedding.local import RunOptions
from clipcli.labelling import calibration, multi_label, side_by_side
from clipcli.labelling.calibration import Examples
from clipcli.labelling.calibration_file import Calibration
from clipcli.labelling.classifier import Classifier
from clipcli.labels.label import Label
from clipcli.records import Embedded

logger = logging.getLogger(__name__)


def calibrate_labels(
    classifier: Classifier,
    labels: Sequence[Label],
    templates: Sequence[str],
    photos: Sequence[Embedded],
    rows: NDArray[np.int64],
    embedder: Embedder,
    options: RunOptions,
    n_pairs_each: int,
) -> Calibration:
    """Thresholds for `labels`, of which `classifier` was built, fitted and measured.

    rows: [n], the index of each photograph's label; n_pairs_each: beside how many others each is
    looked at too. Raises UsageError if cosines tell nothing about the labels.
    """
    backgrounds = embedder.encode_texts(multi_label.BACKGROUND_PROMPTS)
    embeddings = np.stack([photo.embedding for photo in photos])
    shows, folds = np.eye(len(labels), dtype=bool)[rows], calibration.stratified_folds(rows)
    parts = [Examples(embeddings, shows, folds)]
    pairs = side_by_side.choose_pairs(rows, folds, n_pairs_each)
    if len(pairs):
        logger.info(f"looking at them side by side, in {len(pairs):,} pairs")
        paths = [photo.path for photo in photos]
        embeddings = side_by_side.embed_pairs(paths, pairs, embedder, options)
        left, right = pairs.T
        parts.append(Examples(embeddings, shows[left] | shows[right], folds[left]))
    return Calibration(
        made_by=replace(photos[0].made_by, templates=tuple(templates)),
        backgrounds=multi_label.BACKGROUND_PROMPTS,
        labels=tuple(labels),
        thresholds=calibration.fit(classifier, backgrounds, *parts),
        measured=calibration.measure(classifier, backgrounds, *parts),
    )
