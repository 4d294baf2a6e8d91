"""What `clipcli prompts choose` prints, and the labels file that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipcli.errors import one_line

if TYPE_CHECKING:
    from clipcli.evaluation.prompt_choice import Choice, Trial
    from clipcli.labels.label import Label

N_BEST_SHOWN = 5


def choice_text(choice: Choice, labels: Sequence[Label], seed: int) -> str:
    """What was tried on the first half, what came of it on the other, and the verdict."""
    from clipcli.cli.eval_text import table_text
    from clipcli.evaluation.tables import Table, percent

    n = choice.n_chosen_on
    best = [
        [candidate.name, str(len(candidate.templates)), percent(n_right / n)]
        for candidate, n_right in choice.ranking[:N_BEST_SHOWN]
    ]
    more = len(choice.ranking) - len(best)
    heading = (
        f"{n + choice.overall.n:,} photographs, {len(labels):,} labels; chosen on {n:,}, tested"
        f" on the other {choice.overall.n:,} (seed {seed})\n"
    )
    parts = [
        heading,
        table_text(Table(("best templates", "n", "first half"), best, numbers=(1, 2)))
        + (f"and {more} more\n" if more else ""),
    ]
    changes = [
        (what, trial)
        for what, trial in zip(
            (f"words of {_labels_of(len(choice.reworded))}", f"templates {choice.candidate.name}"),
            choice.trials,
            strict=True,
        )
        if trial is not None
    ]
    if changes:
        names = ("on the other half", "before", "after", "difference", "95 % interval", "")
        rows = [[what, *_figures(trial), _verdict(trial)] for what, trial in changes]
        parts.append(table_text(Table(names, rows, numbers=(1, 2, 3, 4))))
    if choice.reworded:
        from clipcli.labels.label import labels_file_line

        parts.append("".join(f"{one_line(labels_file_line(new))}\n" for new in choice.reworded))
    parts.append(f"{_conclusion(choice)}\n")
    return "\n".join(parts)


def labels_file_text(choice: Choice, model: str) -> str:
    """The figures, then a label a line in whole prompts, so that the templates are in the file."""
    from clipcli.labels.label import labels_file_line

    heading = one_line(f"{_conclusion(choice)}; {model}, {choice.overall.n:,} photographs held out")
    lines = [f"# clipcli prompts choose: {heading}", *map(labels_file_line, choice.labels)]
    return "".join(f"{line}\n" for line in lines)


def _labels_of(n: int) -> str:
    return f"{n:,} label" if n == 1 else f"{n:,} labels"


def _figures(trial: Trial) -> list[str]:
    from clipcli.evaluation.tables import percent

    before, after = trial.accuracies
    low, high = trial.interval
    return [
        percent(before),
        percent(after),
        f"{100 * trial.difference:+.1f}",
        f"{100 * low:+.1f} to {100 * high:+.1f}",
    ]


def _verdict(trial: Trial) -> str:
    return "kept" if trial.is_passed else "not beyond chance"


def _conclusion(choice: Choice) -> str:
    from clipcli.evaluation.tables import percent
    from clipcli.labels.label import DEFAULT_TEMPLATE

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
