"""Labels as the options name them, and photographs whose labels are known.

`read_label_request` is for `classify`; `read_labelled` for `eval`, `calibrate`, `probe fit` and
`prompts choose`. They refuse all that can be refused without a model.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipcli.cli.options.shared import LabelledOptions, LabelOptions, ModelOptions, PhotoOptions
from clipcli.cli.work.inputs import PhotoRun, check_options
from clipcli.cli.work.meant_labels import refuse_file_as_label
from clipcli.cli.work.report import Report
from clipcli.errors import ExitCode, UsageError
from clipcli.labelling.calibration_file import read_calibration
from clipcli.labelling.classifier import Classifier, build_classifier
from clipcli.labelling.labeller import LabelRequest, note_labels_without_evidence
from clipcli.labelling.probe_file import read_probe
from clipcli.labels.folder_labels import folder_labels, match_labels
from clipcli.labels.label import Label, parse_labels, read_labels_file
from clipcli.labels.templates import choose_templates
from clipcli.photos import truth
from clipcli.records import Embedded, Photo

logger = logging.getLogger(__name__)


def read_label_request(options: LabelOptions) -> LabelRequest:
    """Raises UsageError for labels, templates or files that cannot work."""
    sources = {
        "--labels": options.labels,
        "--labels-file": options.labels_file,
        "--calibration": options.calibration,
        "--probe": options.probe,
    }
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        raise UsageError(
            f"{' and '.join(given) or 'no labels'}; expected --labels dog,cat,tiger, or"
            " --labels-file, --calibration or --probe FILE"
        )
    (source,) = given
    labels: Sequence[Label] = ()
    if source in ("--labels", "--labels-file"):
        labels = read_labels(options.labels, options.labels_file) or ()
    elif options.template or options.templates:
        raise UsageError(f"{source} has templates of its own; leave --template and --templates out")
    return LabelRequest(
        tuple(labels),
        tuple(choose_templates(options.template, options.templates)),
        read_calibration(options.calibration) if options.calibration is not None else None,
        read_probe(options.probe) if options.probe is not None else None,
        options.top_k,
        options.multi_label,
        options.min_probability,
        options.unknown,
        source=options.calibration or options.probe or "",
    )


def check_none_can_win(options: LabelOptions, option: str) -> None:
    """Raises UsageError for `option`, which lets labels act, where some label always wins: a wrong
    tag is worse than none."""
    taught = options.calibration is not None or options.probe is not None
    if not (options.multi_label or taught or options.min_probability is not None):
        raise UsageError(
            f"{option}: one label wins on every photograph, whether or not it is there; give"
            " --min-probability (0 takes them all), --multi-label, --calibration or --probe"
        )


def read_labels(labels: Sequence[str] | None, labels_file: str | None) -> list[Label] | None:
    """The labels that one of the two options names, if one was given."""
    if labels is not None and labels_file is not None:
        raise UsageError("--labels and --labels-file both name the labels; give one of them")
    if labels_file is not None:
        return read_labels_file(labels_file)
    if labels is None:
        return None
    refuse_file_as_label(labels)
    return parse_labels(labels)


@dataclass(frozen=True)
class EmbeddedPhotos:
    """Photographs that could be read, at least one, and how the run that read them ended.

    labels: to choose from; rows: int64 [n], the index of each one's true label.
    """

    labels: list[Label]
    records: list[Embedded]
    rows: NDArray[np.int64]
    code: ExitCode

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """Unit float32 [n, d]."""
        return np.stack([record.embedding for record in self.records])


@dataclass
class LabelledRun(PhotoRun):
    """labels: to choose from; true_names: path -> the name that its true label has among them;
    empty: true labels without a photograph."""

    labels: list[Label]
    true_names: dict[str, str]
    empty: list[str]

    def classifiers(self, template_sets: Sequence[Sequence[str]]) -> list[Classifier]:
        """The labels in each set of templates, and a note of those that the model knows not."""
        made = [
            build_classifier(self.embedder, self.labels, templates, self.model.truncate)
            for templates in template_sets
        ]
        note_labels_without_evidence(self.embedder, self.labels)
        return made

    def without_rare(self, n_least: int) -> LabelledRun:
        """The run without labels of fewer photographs; see `leave_out_rare`."""
        labels = leave_out_rare(self.labels, self.true_names.values(), n_least)
        kept = {label.name for label in labels}
        true_names = {path: name for path, name in self.true_names.items() if name in kept}
        found = [one for one in self.found if not isinstance(one, Photo) or one.path in true_names]
        return replace(self, found=found, labels=labels, true_names=true_names)

    def embed_labelled(self, n_least: int = 0) -> EmbeddedPhotos:
        """Embed them all, and say how many could be read.

        Labels of which fewer than `n_least` could be are left out; see `leave_out_rare`.
        """
        records = [record for record in self.embedded() if isinstance(record, Embedded)]
        code = self.conclude()
        names = [self.true_names[record.path] for record in records]
        labels = leave_out_rare(self.labels, names, n_least)
        index = {label.name: row for row, label in enumerate(labels)}
        kept = [record for record, name in zip(records, names, strict=True) if name in index]
        rows = np.array([index[name] for name in names if name in index])
        return EmbeddedPhotos(labels, kept, rows, code)


def read_labelled(
    command: str,
    verb: str,
    data: LabelledOptions,
    model: ModelOptions,
    photo: PhotoOptions,
    taught: LabelRequest | None = None,
    **files: str | None,
) -> LabelledRun:
    """The photographs of LABELLED, and the labels given or its own ones.

    command: as it is typed, for messages; verb: as in `Report`; taught: a probe or a calibration,
    whose labels these are then; files: what each option writes. Says what is passed over. Raises
    UsageError for what cannot work.
    """
    report = Report(verb, data.quiet)
    check_options(model, photo, **files, **data.files)
    if photo.null:
        raise UsageError(f"--null: {command} reads no list of paths; leave it out")
    known = truth.read_truth(
        data.labelled,
        recursive=photo.recursive,
        exclude=photo.exclude or (),
        raw=photo.raw,
        columns=replace(truth.COLUMNS, chosen=(data.path_column, data.label_column)),
    )
    if taught is None:
        chosen = read_labels(data.labels, data.labels_file) or folder_labels(known.labels)
        names = match_labels(known.labels, chosen)
    else:
        chosen = _labels_of(taught)
        names = match_labels(known.labels, chosen, taught.source)
    true_names = {one.path: names[one.label] for one in known.photos}
    run = LabelledRun(
        [*known.failures, *map(Photo, true_names), *known.passed_over],
        model,
        photo,
        report,
        chosen,
        true_names,
        sorted(set(known.labels) - {one.label for one in known.photos}),
        made_by=None if taught is None else taught.made_by,
    )
    run.tell_passed_over(data)
    return run


def _labels_of(taught: LabelRequest) -> list[Label]:
    if taught.calibration is not None:
        return list(taught.calibration.labels)
    return folder_labels(taught.probe.labels if taught.probe is not None else ())


def leave_out_rare(labels: Sequence[Label], names: Iterable[str], n_least: int) -> list[Label]:
    """The labels that stand at least `n_least` times among `names`; a note names the others.

    Raises UsageError if others are left out and fewer than two stay.
    """
    counts = Counter(names)
    kept = [label for label in labels if counts[label.name] >= n_least]
    if len(kept) == len(labels):
        return kept
    if len(kept) < 2:
        raise UsageError(
            f"--leave-out-rare: {len(kept)} of {len(labels):,} labels"
            f" {'has' if len(kept) == 1 else 'have'} {n_least} photographs or more; expected at"
            " least two labels that do"
        )
    rare = [f"{one.name} ({counts[one.name]})" for one in labels if counts[one.name] < n_least]
    logger.info(
        f"left out, with fewer than {n_least} photographs: {len(rare):,} of {len(labels):,}"
        f" labels, {', '.join(rare)}"
    )
    return kept


def check_several_labels(labelled: str, labels: Sequence[Label]) -> None:
    """Refuse a choice among one."""
    if len(labels) < 2:
        raise UsageError(
            f"{labelled}: one label, {labels[0].name}, which is always right; {truth.EXPECTED},"
            " or name others with --labels"
        )
