"""How `classify` labels: with words, with a calibration, or with a probe."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from clipcli.cli import inputs
from clipcli.cli.options import LabelOptions
from clipcli.cli.report import Report
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from clipcli.embedding.embedder import Embedder
    from clipcli.labelling.calibration_file import Calibration
    from clipcli.labelling.pipeline import Labeller
    from clipcli.labelling.probe import Probe
    from clipcli.labels.label import Label


@dataclass(frozen=True)
class Asked:
    """The options, with the files that they name read: all that can be refused without a model."""

    options: LabelOptions
    labels: list[Label]
    templates: list[str]
    calibration: Calibration | None = None
    probe: Probe | None = None


def read(options: LabelOptions, report: Report) -> Asked:
    """Raises UsageError for labels, templates or files that cannot work."""
    from clipcli.labelling import calibration_file, probe_file

    _check(options)
    if options.probe is not None:
        return Asked(options, [], [], probe=probe_file.read_probe(options.probe))
    if options.calibration is not None:
        calibration = calibration_file.read(options.calibration)
        return Asked(options, list(calibration.labels), list(calibration.templates), calibration)
    return Asked(options, *_read_words(options, report))


def open_labeller(
    asked: Asked, embedder: Embedder, preprocessing: str, truncate: bool, report: Report
) -> Labeller:
    """The function from embeddings to labels. `preprocessing`: as `DecodeOptions.describe`."""
    from clipcli.labelling import calibration_file, multi_label, pipeline, zero_shot

    options = asked.options
    if asked.probe is not None:
        asked.probe.check_same_model(embedder.spec)
        asked.probe.check_same_preprocessing(preprocessing)
        return partial(asked.probe.label_photos, top_k=options.top_k or 1)
    backgrounds: tuple[str, ...] = multi_label.BACKGROUND_PROMPTS
    thresholds = None
    if asked.calibration is not None:
        path = str(options.calibration)
        calibration_file.check_same_model(asked.calibration, path, embedder.spec, preprocessing)
        note = calibration_file.precision_note(asked.calibration, path, embedder.spec)
        if note is not None:
            report.note(note)
        backgrounds, thresholds = asked.calibration.backgrounds, asked.calibration.thresholds
    classifier = pipeline.build_classifier(embedder, asked.labels, asked.templates, truncate)
    inputs.warn_of_unknown_labels(embedder, asked.labels, report)
    if not (options.multi_label or options.calibration or options.judges_fit):
        return partial(zero_shot.label_photos, classifier=classifier, top_k=options.top_k or 1)
    judged = multi_label.Presence(classifier, embedder.encode_texts(backgrounds), thresholds)
    if options.multi_label:
        floor = options.min_probability
        return partial(
            multi_label.label_photos,
            presence=judged,
            top_k=options.top_k,
            min_probability=multi_label.DEFAULT_MIN_PROBABILITY if floor is None else floor,
            unknown=options.unknown,
        )
    return partial(
        multi_label.label_photos_that_fit,
        presence=judged,
        top_k=options.top_k or 1,
        min_probability=options.min_probability,
        unknown=options.unknown,
    )


def _check(options: LabelOptions) -> None:
    """Refuse, by name, what does not go together."""
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
    if source in ("--calibration", "--probe") and (options.template or options.templates):
        raise UsageError(f"{source} has templates of its own; leave --template and --templates out")
    if options.probe and (options.multi_label or options.judges_fit):
        raise UsageError(
            "--probe tells its own labels apart and nothing else; leave --multi-label,"
            " --min-probability and --unknown out"
        )


def _read_words(options: LabelOptions, report: Report) -> tuple[list[Label], list[str]]:
    from clipcli.labels import label as label_texts
    from clipcli.labels.templates import choose_templates

    if options.labels_file is not None:
        labels = label_texts.read_labels_file(options.labels_file)
    else:
        labels = label_texts.parse_labels(options.labels or ())
    templates = choose_templates(options.template, options.templates)
    foreign = label_texts.foreign_labels(labels)
    if foreign:
        report.note(
            f"{', '.join(foreign[:5])}: not in Latin letters, and the published models know"
            f" English; write {foreign[0]} = ENGLISH WORD in a labels file"
        )
    return labels, templates
