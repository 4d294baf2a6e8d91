"""Rows that are kept up to date, against the same work in two runs, one after the other.

    python examples/benchmark_update.py [ROUNDS] [FOLDER]

Of 10,000 known photographs 5 are gone and 10 are new. An update is held against a run over ten
others that are new, and a warm run over all that are known. FOLDER keeps the photographs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmark import Bench
from benchmark_process import describe_machine, print_table, run

N_KNOWN, N_NEW, N_GONE = 10_000, 10, 5


def main() -> None:
    n_rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"{describe_machine()}\n", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        folder = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else scratch
        bench = Bench(folder, scratch, sys.executable, None, [], 0, n_rounds, n_rounds)
        if not bench.tiny.exists():
            bench.part("save_models", bench.models)
        print_table(
            ("10 new, s", "all warm, s", "update, s", "more, s", "nothing new, s"), rounds(bench)
        )


def rounds(bench: Bench) -> list[tuple[float, ...]]:
    """In each, seconds of the two runs, of the update, of what it takes more, and of another one
    that finds nothing new."""
    listed = bench.photos("tiny", N_KNOWN + 2 * N_NEW * bench.n_rounds)
    photos = listed.read_text().splitlines(keepends=True)
    known, unseen = photos[:N_KNOWN], iter(photos[N_KNOWN:])

    def seconds(cache: Path, some: list[str], *options: object) -> float:
        paths = bench.scratch / "paths.txt"
        paths.write_text("".join(some))
        return run(bench.classify(bench.tiny, cache, "--top-k", 1, *options), paths).seconds

    rows = []
    with bench.empty_cache() as cache:
        update = ("-o", bench.scratch / "rows.csv", "--update")
        other = ("-o", bench.scratch / "other.csv")
        seconds(cache, known, *update)
        for _ in range(bench.n_rounds):
            alone = seconds(cache, [next(unseen) for _ in range(N_NEW)], *other)
            warm = seconds(cache, known, *other)
            known = known[N_GONE:] + [next(unseen) for _ in range(N_NEW)]
            updated = seconds(cache, known, *update)
            again = seconds(cache, known, *update)
            rows.append((alone, warm, updated, updated - alone - warm, again))
    return rows


if __name__ == "__main__":
    main()
