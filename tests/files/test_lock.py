"""Two runs do not write the same part, on POSIX and on Windows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pictures import python
from places import ROOT

from clipcli.errors import LockedError
from clipcli.files.lock import lock_in_temp_folder, lock_on_part

HOLDER = """
import sys
from pathlib import Path
from clipcli.files.lock import {form}
unlock = {form}(Path("out.csv.part"))
print("locked", flush=True)
sys.stdin.read()
unlock()
"""
Form = Callable[[Path], Callable[[], None]]


@pytest.fixture(params=[lock_on_part, lock_in_temp_folder])
def form(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Form:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))  # of the other run
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    return tmp_path / "folder" / "out.csv.part"


@contextmanager
def another_run(form: Form, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock until it is killed or its stdin is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(form=form.__name__)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_run_is_refused_by_any_name_of_the_part(form: Form, part: Path) -> None:
    with another_run(form, part.parent):
        for name in (part, Path("out.csv.part"), Path("../folder/out.csv.part")):
            with pytest.raises(LockedError) as caught:
                form(name)
            assert caught.value.exit_code == 4
            assert str(caught.value) == (
                f"{name}: another run is writing it; wait for that run or choose another --output"
            )


def test_a_part_of_another_name_is_free(form: Form, part: Path) -> None:
    with another_run(form, part.parent):
        form(part.with_name("other.csv.part"))()


def test_a_killed_run_holds_nothing(form: Form, part: Path) -> None:
    with another_run(form, part.parent) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    form(part)()


def test_a_run_that_ends_lets_the_next_one_in(form: Form, part: Path) -> None:
    with another_run(form, part.parent) as process:
        process.communicate(b"", timeout=60)
    form(part)()
    form(part)()


def test_the_form_for_windows_leaves_nothing_beside_the_part(part: Path) -> None:
    lock_in_temp_folder(part)()
    assert os.listdir(part.parent) == []


def test_filelock_is_imported_for_its_own_form_only(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom clipcli.files.lock import lock_part\n"
        "lock_part(Path('out.csv.part'))(); print('filelock' in sys.modules)"
    )
    assert python(code, tmp_path) == "False\n"
