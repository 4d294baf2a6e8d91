"""How fast clipcli is, against its peers and against what the machine allows, in one run.

    python examples/benchmark.py                       # cold: 400 large and 2,000 small photographs
    python examples/benchmark.py cold --size small --photos 300 --peers-python peers/bin/python
    python examples/benchmark.py warm similar prompts memory lite --folder kept

cold      first runs of clipcli and of its peers, with a ViT-B/32 of the same random weights
warm      later runs over 10,000 and 100,000 photographs that did not change
similar   the ten nearest of 1,000,000 stored embeddings
prompts   200 labels in 80 templates
memory    peak memory of 500 photographs and of ten times as many
lite      the embedded model against ViT-B/32, encoding alone
encoding  vision transformers of all families in bfloat16 and int8, encoding alone

All that is timed is a process of its own. What the figures mean is in BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from benchmark_peers import LABELS
from benchmark_process import N_CORES, ProcessError, Run, describe_machine, print_table, run
from benchmark_prompts import MANY_LABELS, TEMPLATES

HERE = Path(__file__).parent
PHOTOS = {"large": (400, "4000 x 3000"), "small": (2000, "400 x 300")}
BATCH_SIZES = (8, 16, 32)
N_TRIED = 64  # photographs on which a peer's batch size is chosen
N_SAMPLED = 192  # prompts, of those that are encoded plainly


@dataclass(frozen=True)
class Bench:
    """Where things are and how much is measured.

    folder: photographs, models and stored embeddings; scratch: caches and lists of this run;
    n_photos: in place of a section's own number.
    """

    folder: Path
    scratch: Path
    peers_python: str
    n_photos: int | None
    sizes: Sequence[str]
    n_labels: int
    n_rounds: int
    n_repeats: int

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def vit_b_32(self) -> Path:
        return self.models / "vit_b_32.safetensors"

    @property
    def tiny(self) -> Path:
        """As wide as ViT-B/32 where pictures and texts meet, and encodes in next to no time."""
        return self.models / "tiny.safetensors"

    def photos(self, kind: str, n_photos: int) -> Path:
        """Photographs of a kind as a list of their paths, one a line."""
        run([sys.executable, HERE / "benchmark_photos.py", kind, self.folder / kind, n_photos])
        return self.folder / kind / f"{n_photos}.txt"

    def first(self, listed: Path, n_photos: int) -> Path:
        """The first so many of a list, as a list."""
        shorter = self.scratch / f"first {n_photos}.txt"
        shorter.write_text("".join(listed.read_text().splitlines(keepends=True)[:n_photos]))
        return shorter

    @contextmanager
    def empty_cache(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self.scratch) as cache:
            yield Path(cache)

    def clipcli(self, command: str, model: Path, cache: Path, *options: object) -> list[object]:
        """A command line; what one run leaves for the next is in `cache`."""
        line = [sys.executable, "-m", "clipcli", command, "--model", model, "--quiet"]
        return [*line, "--cache-dir", cache, *options]

    def classify(self, model: Path, cache: Path, *options: object) -> list[object]:
        """The same for a list of photographs on stdin and the peers' labels, all of them."""
        labels = ["--labels", ",".join(LABELS), "--top-k", len(LABELS)]
        return self.clipcli("classify", model, cache, "-", *labels, *options)

    def peer(self, name: str, *arguments: object) -> list[object]:
        return [self.peers_python, HERE / "benchmark_peers.py", name, self.models, *arguments]

    def part(self, name: str, *arguments: object) -> dict[str, Any]:
        """What a part in benchmark_parts.py prints."""
        script = HERE / "benchmark_parts.py"
        return json.loads(run([sys.executable, script, name, *arguments]).output)


@dataclass(frozen=True)
class Contender:
    """Something that labels photographs: a command for a list of them and an empty cache."""

    what: str
    command: Callable[[Path, Path], list[object]]

    def run(self, bench: Bench, listed: Path, n_runs: int = 1) -> list[Run]:
        """A cold run, and as many more as are asked for with what it left behind."""
        with bench.empty_cache() as cache:
            command = self.command(listed, cache)
            runs = [run(command, listed) for _ in range(n_runs)]
        times = ", ".join(f"{one.seconds:.2f} s" for one in runs)
        print(f"{self.what}, {listed.stem}: {times}", file=sys.stderr, flush=True)
        return runs


def cold(bench: Bench) -> None:
    """First runs of clipcli and of its peers."""
    for size in bench.sizes:
        n_photos, pixels = bench.n_photos or PHOTOS[size][0], PHOTOS[size][1]
        listed = bench.photos(size, n_photos)
        # reading them all puts them into the file cache
        n_bytes = sum(len(Path(line).read_bytes()) for line in listed.read_text().splitlines())
        megabytes = n_bytes / n_photos / 1e6
        print(f"## Cold: {n_photos:,} photographs of {pixels} ({megabytes:.2f} MB), ViT-B/32\n")
        contenders = [*own_contenders(bench, listed), *peer_contenders(bench, listed)]
        print(flush=True)
        compare(bench, contenders, listed, n_photos)


def compare(bench: Bench, contenders: list[Contender], listed: Path, n_photos: int) -> None:
    """Print all contenders' seconds for one photograph and for all, then the parts of a run."""
    ours = contenders[0].what
    one = bench.first(listed, 1)
    import_runs = []
    one_runs: dict[str, list[Run]] = {contender.what: [] for contender in contenders}
    for _ in range(bench.n_repeats):
        import_runs.append(run([sys.executable, "-c", "import torch"]))
        for contender in contenders:
            one_runs[contender.what] += contender.run(bench, one)
    all_runs: dict[str, list[Run]] = {contender.what: [] for contender in contenders}
    warm_runs, decodes, encodes = [], [], []
    for _ in range(bench.n_rounds):
        decodes.append(bench.part("decode", listed))
        first_run, warm_run = contenders[0].run(bench, listed, n_runs=2)
        all_runs[ours].append(first_run)
        warm_runs.append(warm_run)
        encodes.append(bench.part("encode", bench.vit_b_32, "auto", n_photos))
        for contender in contenders[1:]:
            all_runs[contender.what] += contender.run(bench, listed)

    start_up = {what: seconds(runs) for what, runs in one_runs.items()}
    whole = {what: seconds(runs) for what, runs in all_runs.items()}
    rate = {what: (n_photos - 1) / (whole[what] - start_up[what]) for what in whole}
    decode, encode = (
        {key: median(part[key] for part in parts) for key in ("seconds", "cpu_seconds")}
        for parts in (decodes, encodes)
    )
    encode_name = f"encode alone, {encodes[0]['precision']}, in {encodes[0]['batch_size']}s"
    rows = [
        (what, start_up[what], whole[what], rate[what], rate[ours] / rate[what]) for what in rate
    ]
    rows.append(("clipcli again, warm", None, seconds(warm_runs), None, None))
    for name, alone in (("decode alone", decode), (encode_name, encode)):
        alone_rate = n_photos / alone["seconds"]
        rows.append((name, None, alone["seconds"], alone_rate, rate[ours] / alone_rate))
    rows.append(("import torch", seconds(import_runs), None, None, None))
    print_table(("what", "one, s", "all, s", "images/s", f"{ours} is x times"), rows)

    cpu_seconds = (decode["cpu_seconds"] + encode["cpu_seconds"]) / N_CORES
    limit = max(decode["seconds"], encode["seconds"], cpu_seconds) + start_up[ours]
    print(f"- start-up / import torch: {start_up[ours] / seconds(import_runs):.2f}")
    print(f"- CPU seconds of both parts / {N_CORES} cores: {cpu_seconds:.2f} s")
    print(f"- whole / (the largest of the three + start-up): {whole[ours] / limit:.2f}")
    for what, runs in all_runs.items():
        if what != ours:
            print(
                f"- probabilities of {what} differ by {difference(runs[0], all_runs[ours][0]):.4f}"
            )
    print(flush=True)


def own_contenders(bench: Bench, listed: Path) -> Iterator[Contender]:
    """clipcli as it comes, and with each of these options that it knows."""
    for options in ([], ["--precision", "int8"], ["--precision", "fp32"], ["--exact"]):

        def command(_: Path, cache: Path, options: Sequence[str] = options) -> list[object]:
            return bench.classify(bench.vit_b_32, cache, *options)

        contender = Contender(shlex.join(["clipcli", *options]), command)
        try:
            contender.run(bench, bench.first(listed, 1))
            yield contender
        except ProcessError as error:
            print(f"- left out: {contender.what}: {error.said}")


def peer_contenders(bench: Bench, listed: Path) -> Iterator[Contender]:
    """The peers that can be imported, in the batches in which they are fastest here."""
    tried = bench.first(listed, N_TRIED)
    for name in ("open_clip", "transformers"):
        try:
            show = f"import {name}; print({name}.__version__)"
            found = run([bench.peers_python, "-c", show]).output.strip()
        except ProcessError as error:
            print(f"- left out: {name}: {error.said}")
            continue
        if name == "transformers" and not (bench.models / "transformers").exists():
            run(bench.peer("save"))
        lines = run(bench.peer(name, tried, ",".join(map(str, BATCH_SIZES)))).output.splitlines()
        rates = {int(size): float(rate) for size, rate in map(str.split, lines)}
        told = ", ".join(f"{rate:.1f} images/s in {size}s" for size, rate in rates.items())
        print(f"- {name} {found}: {told}")
        best = max(rates, key=rates.__getitem__)
        for batch_size in (1, best) if name == "open_clip" else (best,):

            def command(
                listed: Path, _: Path, name: str = name, batch_size: int = batch_size
            ) -> list[object]:
                return bench.peer(name, listed, batch_size)

            batches = f"in {batch_size}s" if batch_size > 1 else "one at a time"
            yield Contender(f"{name}, {batches}", command)
    print("- left out: rclip: it downloads a model of its own")


def difference(one: Run, other: Run) -> float:
    """The largest difference between two runs' probabilities."""
    tables = [
        {(row["path"], row["label"]): float(row["probability"]) for row in csv.DictReader(lines)}
        for lines in (one.output.splitlines(), other.output.splitlines())
    ]
    return max(abs(tables[0][key] - tables[1][key]) for key in tables[0].keys() | tables[1].keys())


def warm(bench: Bench) -> None:
    """Later runs over photographs that did not change."""
    print("## Warm: photographs that did not change, 5 labels\n", flush=True)
    rows = []
    for n_photos in [bench.n_photos] if bench.n_photos else [10_000, 100_000]:
        listed = bench.photos("tiny", n_photos)
        with bench.empty_cache() as cache:
            command = bench.classify(bench.tiny, cache)
            first_run = run(command, listed)
            runs = [run(command, listed) for _ in range(bench.n_repeats)]
            imports = run([sys.executable, "-X", "importtime", *command[1:]], listed).talk
        peak_mb = max(again.peak_mb for again in runs)
        has_torch = "yes" if re.search(r"\| +torch$", imports, re.MULTILINE) else "no"
        same = "yes" if all(again.output == first_run.output for again in runs) else "no"
        rows.append((f"{n_photos:,}", first_run.seconds, seconds(runs), peak_mb, has_torch, same))
    columns = ("photographs", "first, s", "again, s", "again, MB", "imports torch", "same rows")
    print_table(columns, rows)


def similar(bench: Bench) -> None:
    """The nearest of many stored embeddings, for a query that is one of them."""
    n_rows = bench.n_photos or 1_000_000
    print(f"## Similar: the 10 nearest of {n_rows:,} embeddings of 512 numbers\n", flush=True)
    query = bench.photos("small", 1).read_text().strip()
    rows = []
    with bench.empty_cache() as cache:
        one = bench.scratch / "one.npy"
        run(bench.clipcli("embed", bench.vit_b_32, cache, query, "-o", one))
        for dtype in ("float32", "float16"):
            stored = bench.folder / f"{n_rows}-{dtype}.npy"
            bench.part("save_embeddings", one, stored, dtype, n_rows)
            n_mb = stored.stat().st_size / 2**20
            command = bench.clipcli("similar", bench.vit_b_32, cache, query)
            command += ["--embeddings", stored]
            run(command)  # reads the file into the file cache
            runs = [run(command) for _ in range(bench.n_repeats)]
            watched = run(command, watch=True)
            plain = run([sys.executable, HERE / "benchmark_parts.py", "search_plainly", stored])
            rows.append(
                (dtype, n_mb, seconds(runs), watched.anonymous_mb, watched.peak_mb, plain.seconds)
            )
    columns = ("numbers", "file, MB", "whole, s", "own memory, MB", "peak, MB", "bare NumPy, s")
    print_table(columns, rows)


def prompts(bench: Bench) -> None:
    """Many labels in many templates, against the same prompts encoded plainly."""
    labels = MANY_LABELS[: bench.n_labels]
    filled = [template.format(label) for label in labels for template in TEMPLATES]
    print(f"## Prompts: {len(labels)} labels in {len(TEMPLATES)} templates, ViT-B/32\n", flush=True)
    sample = bench.scratch / "prompts.txt"
    sample.write_text("\n".join(Random(0).sample(filled, N_SAMPLED)))
    listed = bench.photos("small", 1)
    with bench.empty_cache() as cache:
        few = run(bench.classify(bench.vit_b_32, cache), listed).seconds
    with bench.empty_cache() as cache:
        command = bench.clipcli("classify", bench.vit_b_32, cache, "-")
        command += ["--labels", ",".join(labels)]
        command += [word for template in TEMPLATES for word in ("--template", template)]
        first_run = run(command, listed).seconds
        again = seconds([run(command, listed) for _ in range(bench.n_repeats)])
    ours = first_run - few
    rows: list[tuple[object, ...]] = [
        ("clipcli", first_run, len(filled) / ours, 1.0),
        ("clipcli again", again, None, None),
        (f"clipcli, {len(LABELS)} labels in one template", few, None, None),
    ]
    for precision in ("auto", "fp32"):
        padded = bench.part("encode_padded", bench.vit_b_32, precision, sample)
        plain = padded["seconds"] * len(filled) / N_SAMPLED
        rows.append(
            (f"padded to 77, {padded['precision']}*", plain, len(filled) / plain, plain / ours)
        )
    print_table(("what", "seconds", "prompts/s", "clipcli is x times"), rows)
    print(f"\\* from {N_SAMPLED} of the prompts, encoding alone; prompts/s are after start-up.\n")


def memory(bench: Bench) -> None:
    """Peak memory of a cold run over ten times as many photographs."""
    n_photos = bench.n_photos or 500
    print(f"## Memory: photographs of {PHOTOS['small'][1]}, ViT-B/32\n", flush=True)
    rows = []
    for n in (n_photos, 10 * n_photos):
        listed = bench.photos("small", n)
        with bench.empty_cache() as cache:
            rows.append((f"{n:,}", run(bench.classify(bench.vit_b_32, cache), listed).peak_mb))
    print_table(("photographs", "peak, MB"), rows)
    print(f"- ratio {rows[1][1] / rows[0][1]:.3f}\n")


def lite(bench: Bench) -> None:
    """lite against ViT-B/32, encoding alone."""
    print("## Lite: images/s, encoding alone\n", flush=True)
    compared = bench.part("compare_lite", bench.vit_b_32)
    rows = [
        (precision, one["lite"], one["vit_b_32"], one["ratio"])
        for precision, one in compared.items()
    ]
    print_table(("precision", "lite", "ViT-B/32", "median ratio"), rows)


def encoding(bench: Bench) -> None:
    """Vision transformers of all families, encoding alone."""
    print("## Encoding alone: random weights, in the CPU's arrangement\n", flush=True)
    print(run([sys.executable, HERE / "benchmark_encoding.py", 2 * bench.n_repeats + 1]).output)


def seconds(runs: Sequence[Run]) -> float:
    """The median of whole processes."""
    return median(one.seconds for one in runs)


SECTIONS = {one.__name__: one for one in (cold, warm, similar, prompts, memory, lite, encoding)}


def main() -> None:
    """Describe the machine and measure the sections that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="by default cold")
    parser.add_argument("--photos", type=int, help="in place of a section's own number")
    parser.add_argument("--labels", type=int, default=200, help="in prompts, 200 at most")
    parser.add_argument("--size", choices=PHOTOS, help="of the photographs in cold; else both")
    parser.add_argument("--rounds", type=int, default=1, help="of cold; medians are printed")
    parser.add_argument("--repeats", type=int, default=3, help="of what takes but seconds")
    parser.add_argument("--peers-python", default=sys.executable, help="which has the peers")
    parser.add_argument("--folder", type=Path, help="keeps the photographs for another time")
    options = parser.parse_args()
    chosen = options.sections or ["cold"]
    unknown = [name for name in chosen if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {unknown[0]}; expected one of {', '.join(SECTIONS)}")
    print(f"{describe_machine()}\n", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        bench = Bench(
            folder=(options.folder or scratch).resolve(),
            scratch=scratch,
            peers_python=options.peers_python,
            n_photos=options.photos,
            sizes=[options.size] if options.size else list(PHOTOS),
            n_labels=options.labels,
            n_rounds=options.rounds,
            n_repeats=options.repeats,
        )
        if not bench.tiny.exists():  # the last of the models
            bench.part("save_models", bench.models)
        for name in chosen:
            SECTIONS[name](bench)


if __name__ == "__main__":
    main()
