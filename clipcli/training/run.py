"""What a run is made of, and where it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from clipcli.errors import OutputError, UsageError
from clipcli.training.batches import Plan
from clipcli.training.distributed import Processes
from clipcli.training.pairs import Pair
from clipcli.training.precision import Precision
from clipcli.training.start import Start
from clipcli.training.state import Settings

MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Files:
    """Where a run is kept: in a folder of its own, or beside the `.safetensors` asked for."""

    model: Path
    log: Path
    curves: Path
    state: Path
    best: Path

    @classmethod
    def of(cls, output: str) -> Files:
        path = Path(output)
        if path.suffix == ".safetensors":
            ends = ("csv", "png", "state.safetensors", "best.safetensors")
            return cls(path, *(path.with_suffix(f".{end}") for end in ends))
        names = (MODEL_FILE, "log.csv", "curves.png", "state.safetensors", "best.safetensors")
        return cls(*(path / name for name in names))

    def make_folder(self) -> None:
        """Raises OutputError where that cannot be done."""
        folder = self.model.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error


@dataclass(frozen=True)
class Run:
    """Everything that a run is made of.

    n_threads: that decode ahead, None for one a core; keep_mb: of memory, for resized photographs;
    held_out: pairs to validate on, if any.
    Raises UsageError for a batch that leaves a process without a pair.
    """

    start: Start
    pairs: list[Pair]
    settings: Settings
    precision: Precision
    files: Files
    processes: Processes
    n_threads: int | None = None
    keep_mb: int = 1024
    held_out: list[Pair] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.settings.batch_size < self.processes.size:
            raise UsageError(
                f"--batch-size {self.settings.batch_size}: {self.processes.size} processes need at"
                " least one pair each"
            )

    @property
    def candidates(self) -> list[Pair]:
        """Whose captions a held-out photograph is compared with: where these are labels, all of
        them, since a share held out may lack some."""
        is_labelled = any(pair.is_label for pair in self.held_out)
        return self.held_out + [pair for pair in self.pairs if is_labelled and pair.is_label]

    @property
    def plan(self) -> Plan:
        chosen = self.settings
        return Plan(len(self.pairs), chosen.batch_size, chosen.epochs, chosen.seed)
