"""What labels become, and which words and templates are better."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.cli.options.shared import LabelledOptions, ModelOptions, PhotoOptions
from clipcli.cli.printing import print_text
from clipcli.cli.work.labels import check_several_labels, read_labelled, read_labels
from clipcli.cli.work.tables import print_tables
from clipcli.errors import UsageError, one_line
from clipcli.evaluation import prompt_candidates, prompt_choice
from clipcli.evaluation.prompt_choice import N_PHOTOS_LEAST, Choice, Half, Trial
from clipcli.files.part_file import PartFile
from clipcli.files.suffixes import check_suffix
from clipcli.files.table import (
    Cell,
    Row,
    Table,
    count,
    number,
    percent,
    points,
    points_between,
    words,
)
from clipcli.files.table_text import TableFormat
from clipcli.labelling.labeller import note_labels_without_evidence
from clipcli.labels.label import DEFAULT_TEMPLATE, Label, check_templates, labels_file_line, prompts
from clipcli.labels.templates import TEMPLATE_SETS, choose_templates, read_templates

if TYPE_CHECKING:
    from clipcli.cli.prompts import ChooseOptions

logger = logging.getLogger(__name__)

N_BEST_SHOWN = 5
MIN_PHOTOS = 2  # of a label with --leave-out-rare: one in each half
SOURCES = {
    "simple": "the default; the paper's section 3.1.4",
    "seven": "openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb",
    "imagenet80": "openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb",
    "cifar18": "openai/CLIP, data/prompts.md",
}


def show(
    labels: Sequence[str] | None,
    labels_file: str | None,
    template: Sequence[str] | None,
    templates: str | None,
    format: TableFormat,
) -> int:
    chosen_templates = choose_templates(template, templates)
    chosen = read_labels(labels, labels_file)
    if chosen is not None:
        names = ["label", "prompt"]
        rows = [[label.name, one] for label in chosen for one in prompts(label, chosen_templates)]
    elif template or templates:
        names, rows = ["template"], [[one] for one in chosen_templates]
    else:
        print_tables([_sets()], format)
        return 0
    if format == "csv":
        print_tables([Table(tuple(map(words, names)), [[*row] for row in rows])], format)
    else:  # lines to copy from, or to begin a file of templates with
        print_text("".join("\t".join(map(one_line, row)) + "\n" for row in rows))
    return 0


def _sets() -> Table:
    columns = (words("name"), number("templates", "n_templates"), words("source"))
    rows: list[Row] = [
        [name, count(len(some)), SOURCES[name]] for name, some in TEMPLATE_SETS.items()
    ]
    return Table(columns, rows)


def choose(
    choose: ChooseOptions, data: LabelledOptions, model: ModelOptions, photo: PhotoOptions
) -> int:
    check_suffix("--output", choose.output, ".txt")
    own_sets = {name: read_templates(name) for name in choose.templates or ()}
    for some in own_sets.values():
        check_templates(some)
    n_least = MIN_PHOTOS if choose.leave_out_rare else 0
    run = read_labelled("prompts choose", "looked at", data, model, photo, output=choose.output)
    check_several_labels(data.labelled, run.labels)
    rewordings = _rewordings(run.labels, choose.rewordings)  # of rare labels too
    run = run.without_rare(n_least)
    _check_enough(data.labelled, len(run.true_names))
    if choose.output is not None:
        _check_writable(run.labels)
    with ExitStack() as stack:
        # known to be writable before it starts
        file = stack.enter_context(PartFile(Path(choose.output))) if choose.output else None
        note_labels_without_evidence(run.embedder, run.labels)
        with run.report.failures_to(data.failures):
            photos = run.embed_labelled(n_least)
        labels = photos.labels
        _check_enough(data.labelled, len(photos.rows))
        made = prompt_choice.choose(
            run.embedder,
            Half(photos.embeddings, photos.rows),
            labels,
            rewordings,
            prompt_candidates.template_candidates(own_sets, choose.hint),
            choose.seed,
            model.truncate,
        )
        print_tables(_choice_parts(made, labels, choose.seed, choose.format), choose.format)
        if file is not None:
            file.write(_labels_file_text(made, run.embedder.spec.name).encode())
    if file is not None:
        best = "the winner" if made.beats_default else "the default"
        logger.info(
            f"{best}'s prompts are in {choose.output}; use them with --labels-file {choose.output}"
        )
    return photos.code


def _rewordings(labels: Sequence[Label], path: str | None) -> dict[str, list[Label]]:
    """Other ways to say each label: those of the file, and the label's own."""
    given = prompt_candidates.read_rewordings(path, labels) if path else {}
    return {
        label.name: [*given.get(label.name, ()), *prompt_candidates.own_rewordings(label)]
        for label in labels
    }


def _check_enough(labelled: str, n: int) -> None:
    if n < N_PHOTOS_LEAST:
        photographs = "1 photograph" if n == 1 else f"{n} photographs"
        raise UsageError(
            f"{labelled}: {photographs}; expected at least {N_PHOTOS_LEAST}, since with fewer"
            " nothing can be told from chance"
        )


def _check_writable(labels: Sequence[Label]) -> None:
    """Refuse, before the work, a label that no line of a labels file can hold."""
    for label in labels:
        if label.name.strip() != label.name or len(label.name.splitlines()) > 1:
            raise UsageError(
                f"{label.name!r}: a label with spaces around it or a line break in it does not"
                " fit into a labels file; rename it, or leave --output out"
            )


def _choice_parts(
    choice: Choice, labels: Sequence[Label], seed: int, format: TableFormat
) -> list[Table | str]:
    """What was tried on the first half, what came of it on the other, and the verdict."""
    n, n_tested = choice.n_chosen_on, choice.overall.n
    heading = (
        f"{n + n_tested:,} photographs, {len(labels):,} labels; chosen on {n:,}, tested on the"
        f" other {n_tested:,} (seed {seed})\n"
    )
    parts: list[Table | str] = [
        heading,
        _best_templates(choice, None if format == "csv" else N_BEST_SHOWN),
    ]
    trials = _trials(choice)
    if trials.rows:
        parts.append(trials)
    if choice.words_trial is not None:
        verdict = "kept" if choice.words_trial.is_passed else "rejected, not better beyond chance"
        lines = [one_line(labels_file_line(new)) for new in choice.reworded]
        parts.append("".join(f"{line}\n" for line in [f"words that were {verdict}:", *lines]))
    parts.append(f"{_conclusion(choice)}\n")
    return parts


def _best_templates(choice: Choice, n_shown: int | None) -> Table:
    """By what is shown: the ranking itself puts the default before what is no clear gain."""
    ranking = sorted(choice.ranking, key=lambda ranked: -ranked[1])
    rows: list[Row] = [
        [one.name, count(len(one.templates)), percent(n_right / choice.n_chosen_on)]
        for one, n_right in ranking[:n_shown]
    ]
    columns = (
        words("best templates", "templates"),
        number("n", "n_templates"),
        number("first half", "accuracy"),
    )
    n_more = len(ranking) - len(rows)
    return Table(columns, rows, note=f"and {n_more} more" if n_more else "")


def _trials(choice: Choice) -> Table:
    n_reworded = len(choice.reworded)
    of_words = f"words of {n_reworded:,} label{'s' if n_reworded != 1 else ''}"
    changes = zip((of_words, f"templates {choice.candidate.name}"), choice.trials, strict=True)
    tried = [(what, trial) for what, trial in changes if trial is not None]
    rows: list[Row] = [
        [what, *_figures(trial), "kept" if trial.is_passed else "rejected"] for what, trial in tried
    ]
    columns = (
        words("on the other half", "change"),
        *(number("before"), number("after"), number("difference")),
        number("95 % interval", "difference_low", "difference_high"),
        words("", "verdict"),
    )
    rejected = (place for place, (_, trial) in enumerate(tried) if not trial.is_passed)
    return Table(columns, rows, faint=frozenset(rejected))


def _labels_file_text(choice: Choice, model: str) -> str:
    """The figures, then a label a line in whole prompts, so that the templates are in the file."""
    heading = one_line(f"{_conclusion(choice)}; {model}, {choice.overall.n:,} photographs held out")
    lines = [f"# clipcli prompts choose: {heading}", *map(labels_file_line, choice.labels)]
    return "".join(f"{line}\n" for line in lines)


def _figures(trial: Trial) -> list[Cell]:
    before, after = map(percent, trial.accuracies)
    return [before, after, points(trial.difference), points_between(trial.interval)]


def _conclusion(choice: Choice) -> str:
    if not choice.beats_default:
        return (
            f"nothing beats the default beyond chance: keep {DEFAULT_TEMPLATE!r} and the labels as"
            f" they are, {percent(choice.overall.accuracies[0])}"
        )
    was, now, difference, interval = _figures(choice.overall)
    return (
        f"better than the default: {now} instead of {was}, {difference} points"
        f" (95 % interval {interval})"
    )
