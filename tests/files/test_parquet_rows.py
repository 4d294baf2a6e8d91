"""Rows of Parquet: what a reader finds, how much is held in memory, and what errors leave."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from answers import LITE
from pictures import python

from clipcli.cli.options.shared import OutputOptions
from clipcli.cli.work.output import Maker, choose_format, maker_of, open_rows
from clipcli.errors import UsageError
from clipcli.files.rows import CLASSIFY_COLUMNS, MOVED_TO, Record, TableContents, embed_columns
from clipcli.records import Classified, Embedded, Failure, Prediction

pyarrow = pytest.importorskip("pyarrow", reason='needs: pip install "clipcli[parquet]"')
parquet = pytest.importorskip("pyarrow.parquet")

CAT = Classified(
    "cat.jpg",
    (Prediction("cat", 0.98765432, 0.25, is_accepted=True), Prediction("猫", 0.0123, -0.1)),
    LITE,
)
NONE = Classified(os.fsdecode(b"caf\xe9.jpg"), (), LITE, scoring="calibrated")


def write(path: Path, *records: Record, columns: tuple[str, ...] = CLASSIFY_COLUMNS) -> Path:
    format = choose_format(OutputOptions(str(path)), type(records[0]))
    with open_rows(OutputOptions(str(path)), format, columns, TableContents(Classified)) as rows:
        for record in records:
            rows.write(record)
        rows.finish()
    return path


def test_columns_have_types_and_the_values_of_csv(tmp_path: Path) -> None:
    records = [CAT, Failure("b.jpg", "no picture"), NONE]
    table = parquet.read_table(write(tmp_path / "rows.parquet", *records))
    assert [*map(str, table.schema.types)] == [
        *("string", "int32", "string", "double"),
        *("double", "bool", "string", "string"),
    ]
    assert table.column_names == [*CLASSIFY_COLUMNS]
    rows = table.to_pylist()
    assert [*rows[0].values()] == ["cat.jpg", 1, "cat", 0.987654, 0.25, True, "softmax", "lite"]
    assert [*rows[1].values()] == ["cat.jpg", 2, "猫", 0.0123, -0.1, False, "softmax", "lite"]
    nothing = ["caf\\udce9.jpg", 0, None, None, None, False, "calibrated", "lite"]
    assert [*rows[2].values()] == nothing
    assert json.loads(f'"{rows[2]["path"]}"') == NONE.path

    moved = replace(CAT, moved_to="sorted/cat/cat.jpg")
    table = parquet.read_table(
        write(tmp_path / "moved.parquet", moved, columns=(*CLASSIFY_COLUMNS, MOVED_TO))
    )
    assert table.column(MOVED_TO).to_pylist() == ["sorted/cat/cat.jpg"] * 2

    text = write(tmp_path / "rows.csv", *records).read_text("utf-8", "surrogateescape")
    listed = list(csv.DictReader(io.StringIO(text)))
    assert [row["label"] or None for row in listed] == [row["label"] for row in rows]


def test_file_says_which_version_and_model_made_it(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", CAT)
    metadata = parquet.read_metadata(path).metadata
    assert metadata[b"clipcli"] == b"0.1.0"
    assert json.loads(metadata[b"made_by"]) == asdict(LITE) | {"templates": [*LITE.templates]}
    assert maker_of(str(path)) == Maker(LITE.model, LITE.fingerprint)
    assert maker_of(str(write(tmp_path / "rows.tsv", CAT))) == Maker(LITE.model)
    path.write_bytes(b"no parquet")
    assert maker_of(str(path)) is None


def test_rows_without_a_photograph_are_a_file_all_the_same(tmp_path: Path) -> None:
    table = parquet.read_table(
        write(tmp_path / "rows.parquet", Failure("a", "b"), columns=("path",))
    )
    assert (table.num_rows, table.column_names) == (0, ["path"])


def fail_after(path: Path, *records: Record) -> None:
    out = OutputOptions(str(path))
    with open_rows(out, "parquet", CLASSIFY_COLUMNS, TableContents(Classified)) as rows:
        for record in records:
            rows.write(record)
        raise ZeroDivisionError


def test_after_an_error_the_rows_so_far_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_after(tmp_path / "none.parquet")
    with pytest.raises(ZeroDivisionError):
        fail_after(tmp_path / "rows.parquet", CAT)
    assert os.listdir(tmp_path) == ["rows.parquet.part"]
    assert parquet.read_table(tmp_path / "rows.parquet.part").num_rows == 2


MANY = """
import resource, sys
import numpy as np
from clipcli.cli.options.shared import OutputOptions
from clipcli.cli.work.output import open_rows
from clipcli.files.rows import TableContents, embed_columns
from clipcli.records import Embedded
from answers import LITE
kb = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
row = np.random.default_rng(0).random(512, np.float32)
out = OutputOptions("many.parquet")
with open_rows(out, "parquet", embed_columns("path", 512), TableContents(Embedded)) as rows:
    for n in range(60_000):
        if n == 20_000:
            before_kb = kb()
        rows.write(Embedded(f"{n}.jpg", row + n, LITE))
    rows.finish()
print(kb() - before_kb)
"""


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    grown_kb = int(python(f"import sys; sys.path.append({str(tests)!r})\n{MANY}", tmp_path))
    assert grown_kb < 40_000  # 80 MB of embeddings came after the first 20,000
    file = parquet.ParquetFile(tmp_path / "many.parquet")
    assert (file.metadata.num_rows, file.num_row_groups) == (60_000, 6)
    kind = file.schema_arrow.field("embedding").type
    assert (kind.list_size, kind.value_type) == (512, pyarrow.float32())
    part = file.read_row_group(5, columns=["path", "embedding"]).slice(9_999).to_pylist()
    first = np.random.default_rng(0).random(512, np.float32)
    assert part == [{"path": "59999.jpg", "embedding": (first + 59_999).tolist()}]


def test_embeddings_are_the_same_numbers(tmp_path: Path) -> None:
    embedding = np.random.default_rng(1).random(8, np.float32)
    path = tmp_path / "rows.parquet"
    write(path, Embedded("a.jpg", embedding, LITE), columns=(*embed_columns("path", 8),))
    table = parquet.read_table(path)
    assert table.column_names == ["path", "embedding", "model"]
    assert (table["embedding"].combine_chunks().flatten().to_numpy() == embedding).all()


def test_without_pyarrow_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as if not installed
    advice = 'Parquet needs the package pyarrow; install it with: pip install "clipcli[parquet]"'
    for out, option in (
        (OutputOptions("a.parquet"), "--output a.parquet"),
        (OutputOptions(format="parquet"), "--format parquet"),
    ):
        with pytest.raises(UsageError) as caught:
            choose_format(out, Classified)
        assert str(caught.value) == f"{option}: {advice}"
