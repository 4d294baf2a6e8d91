"""A file appears whole or not at all, and two runs do not write the same one."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pictures import DROP_RIGHTS, python
from places import ROOT

from clipcli.errors import LockedError, OutputError
from clipcli.files.part_file import PartFile, write_whole

WRITER = """
import sys
from pathlib import Path
from clipcli.files.part_file import PartFile
file = PartFile(Path("out.csv"))
file.write(b"rows so far\\n")
print("writing", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.csv"


@contextmanager
def another_run(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds out.csv open until it is killed or its stdin is closed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", WRITER]
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        try:
            yield process
        finally:
            process.kill()


def refusal(path: Path) -> str:
    with pytest.raises(OutputError) as caught:
        PartFile(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def notes_of_an_interruption(file: PartFile) -> list[str]:
    """Write a few bytes, and be interrupted: what the error tells besides."""
    try:
        with file:
            file.write(b"some")
            raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        return getattr(error, "__notes__", [])


def test_file_appears_when_it_is_whole(path: Path) -> None:
    file = PartFile(path)
    file.write(b"one,")
    file.write(b"two\n")
    assert file.part_path == path.with_name("out.csv.part")
    assert file.part_path.read_bytes() == b"one,two\n"
    assert not path.exists()
    file.commit()
    assert path.read_bytes() == b"one,two\n"
    assert os.listdir(path.parent) == ["out.csv"]


def test_old_file_is_untouched_until_the_new_one_is_whole(path: Path) -> None:
    path.write_bytes(b"old")
    file = PartFile(path)
    file.write(b"new and longer")
    assert path.read_bytes() == b"old"
    file.commit()
    assert path.read_bytes() == b"new and longer"


def test_abandoned_file_stays_in_the_part(path: Path) -> None:
    path.write_bytes(b"old")
    file = PartFile(path, kept="rows")
    file.write(b"some")
    assert file.abandon() == path.with_name("out.csv.part")
    assert path.read_bytes() == b"old"
    assert file.part_path.read_bytes() == b"some"


def test_abandoned_file_in_which_nothing_was_written_leaves_no_part(path: Path) -> None:
    path.write_bytes(b"old")
    assert PartFile(path, kept="rows").abandon() is None
    assert os.listdir(path.parent) == ["out.csv"]


def test_a_block_that_ends_well_makes_the_file_appear(path: Path) -> None:
    with PartFile(path) as file:
        file.write(b"all")
        assert not path.exists()
    assert path.read_bytes() == b"all"
    assert os.listdir(path.parent) == ["out.csv"]


def test_a_block_that_fails_keeps_what_is_of_use_and_the_error_tells_where(path: Path) -> None:
    assert notes_of_an_interruption(PartFile(path, kept="rows")) == [
        f"the rows so far are in {path}.part"
    ]
    assert path.with_name("out.csv.part").read_bytes() == b"some"
    assert not path.exists()


def test_a_block_that_fails_leaves_no_part_of_what_is_of_use_only_whole(path: Path) -> None:
    path.write_bytes(b"old")
    assert notes_of_an_interruption(PartFile(path)) == []
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["out.csv"]


def test_a_block_may_decide_by_itself_before_it_fails(path: Path) -> None:
    with suppress(KeyboardInterrupt), PartFile(path) as file:
        file.write(b"all there is")
        file.commit()
        raise KeyboardInterrupt
    assert path.read_bytes() == b"all there is"


def test_bytes_are_written_whole_or_not_at_all(tmp_path: Path, path: Path) -> None:
    write_whole(path, b"all")
    assert path.read_bytes() == b"all"
    code = (
        "import resource\nfrom pathlib import Path\n"
        "from clipcli.errors import OutputError\nfrom clipcli.files.part_file import write_whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (25, 25))\n"
        "try: write_whole(Path('out.csv'), bytes(100))\n"
        "except OutputError as error: print(error)"
    )
    message = "out.csv: cannot be written: File too large; free some space\n"
    assert python(code, tmp_path) == message
    assert path.read_bytes() == b"all"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_equal_file_is_left_alone_where_that_is_asked_for(path: Path) -> None:
    path.write_bytes(b"old")
    before = path.stat().st_mtime_ns, path.stat().st_ino
    with PartFile(path, kept="rows") as file:
        file.write(b"ol")
        assert not file.leave_equal()
        file.write(b"d")
        assert file.leave_equal()
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert os.listdir(path.parent) == ["out.csv"]
    with PartFile(path) as file:
        assert not file.leave_equal()
    assert path.read_bytes() == b""
    with PartFile(path.with_name("new")) as file:
        assert not file.leave_equal()  # an empty file is not none
    assert path.with_name("new").exists()


def test_part_of_an_earlier_run_stays_until_the_first_bytes(path: Path) -> None:
    part = path.with_name("out.csv.part")
    part.write_bytes(b"hours of work")
    assert PartFile(path, kept="rows").abandon() is None
    assert part.read_bytes() == b"hours of work"
    with suppress(KeyboardInterrupt), PartFile(path, kept="rows") as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert part.read_bytes() == b"new"
    with PartFile(path):
        pass
    assert path.read_bytes() == b""


def test_part_of_an_earlier_run_is_written_anew(path: Path) -> None:
    path.with_name("out.csv.part").write_bytes(b"much more than now")
    file = PartFile(path)
    file.write(b"new")
    file.commit()
    assert path.read_bytes() == b"new"


def test_start_can_be_replaced_while_rows_are_appended(path: Path) -> None:
    file = PartFile(path)
    file.write(b"head 0\n")
    file.write(b"row\n")
    file.write_at_start(b"head 1\n")
    file.write(b"row\n")
    file.commit()
    assert path.read_bytes() == b"head 1\nrow\nrow\n"


def test_permissions_are_those_of_any_new_file(path: Path) -> None:
    file = PartFile(path)
    file.commit()
    other = path.with_name("other")
    other.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_link_stays_a_link_to_the_new_file(tmp_path: Path, path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target = tmp_path / "disk" / "real.csv"
    target.write_bytes(b"old")
    path.symlink_to("disk/real.csv")
    file = PartFile(path)
    file.write(b"new")
    assert file.part_path == target.with_name("real.csv.part")
    file.commit()
    assert path.is_symlink()
    assert target.read_bytes() == b"new"


def test_link_to_no_file_yet_makes_that_file(tmp_path: Path, path: Path) -> None:
    path.symlink_to("real.csv")
    file = PartFile(path)
    file.write(b"new")
    file.commit()
    assert path.is_symlink()
    assert (tmp_path / "real.csv").read_bytes() == b"new"


def test_odd_names_are_written(tmp_path: Path) -> None:
    for name in (b"caf\xe9.csv", b"two\nlines", b"-", b" "):
        file = PartFile(tmp_path / os.fsdecode(name))
        file.write(b"x")
        file.commit()
        assert (tmp_path / os.fsdecode(name)).read_bytes() == b"x"


# --- the lock


def test_second_writer_is_refused_and_changes_nothing(tmp_path: Path, path: Path) -> None:
    with another_run(tmp_path):
        with pytest.raises(LockedError) as caught:
            PartFile(path)
        assert str(caught.value) == (
            f"{path}.part: another run is writing it; wait for that run or choose another --output"
        )
        assert path.with_name("out.csv.part").read_bytes() == b"rows so far\n"


def test_link_to_the_same_file_is_locked_too(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to("out.csv")
    with another_run(tmp_path), pytest.raises(LockedError):
        PartFile(tmp_path / "link.csv")


def test_lock_goes_with_a_killed_run_and_its_rows_stay(tmp_path: Path, path: Path) -> None:
    with another_run(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.with_name("out.csv.part").read_bytes() == b"rows so far\n"
    file = PartFile(path)
    file.write(b"new")
    file.commit()
    assert path.read_bytes() == b"new"


def test_lock_goes_when_the_file_is_whole_or_abandoned(path: Path) -> None:
    PartFile(path).commit()
    PartFile(path).abandon()
    PartFile(path).commit()


# --- devices and pipes


def test_device_is_written_directly() -> None:
    file = PartFile(Path("/dev/null"))
    file.write(b"gone")
    file.commit()
    assert file.part_path == Path("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert not Path("/dev/null.part").exists()


def test_named_pipe_is_written_directly(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    file = PartFile(pipe)
    file.write(b"one\n")
    file.write(b"two\n")
    file.commit()
    reader.join(10)
    assert received == [b"one\ntwo\n"]
    assert os.listdir(tmp_path) == ["pipe"]


def test_dev_stdout_is_written_directly(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from clipcli.files.part_file import PartFile\n"
        "file = PartFile(Path('/dev/stdout')); file.write(b'row'); file.commit()"
    )
    assert python(code, tmp_path) == "row"


# --- what cannot be written


def test_folder_and_missing_folder_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (f"{tmp_path}: is a folder; expected the name of a file to write")
    missing = tmp_path / "gone" / "out.csv"
    assert refusal(missing) == f"{missing}: cannot be written: No such file or directory"


def test_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "out.csv"
    assert refusal(path) == f"{path}: cannot be written: Not a directory"


def test_name_too_long_is_refused(tmp_path: Path) -> None:
    for length in (253, 300):  # with and without .part
        path = tmp_path / ("x" * length)
        assert refusal(path) == f"{path}: cannot be written: File name too long"


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_folder_that_may_not_be_written_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(0o755)
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(mode)
    code = "import os\nfrom pathlib import Path\nfrom clipcli.files.part_file import PartFile\n"
    code += DROP_RIGHTS
    code += "try: PartFile(Path('closed/out.csv'))\n"
    code += "except Exception as error: print(type(error).__name__, error)"
    try:
        assert python(code, tmp_path) == (
            "OutputError closed/out.csv: cannot be written: Permission denied\n"
        )
    finally:
        folder.chmod(0o755)


def test_full_device_is_one_line() -> None:
    file = PartFile(Path("/dev/full"))
    with pytest.raises(OutputError) as caught:
        file.write(b"row\n")
    assert str(caught.value) == (
        "/dev/full: cannot be written: No space left on device; free some space"
    )
    file.abandon()


def test_full_disk_leaves_the_old_file_and_the_rows_so_far(tmp_path: Path, path: Path) -> None:
    # the limit on a file's size fails in the middle of a write, as a full disk does
    path.write_bytes(b"old")
    code = (
        "import resource\nfrom pathlib import Path\n"
        "from clipcli.errors import OutputError\nfrom clipcli.files.part_file import PartFile\n"
        "file = PartFile(Path('out.csv'), kept='rows')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (25, 25))\n"
        "try:\n"
        "    while True: file.write(b'0123456789')\n"
        "except OutputError as error: print(error)\n"
        "file.write_at_start(b'abc')\n"
        "file.abandon()"
    )
    message = "out.csv: cannot be written: File too large; free some space\n"
    assert python(code, tmp_path) == message
    assert path.read_bytes() == b"old"
    assert path.with_name("out.csv.part").read_bytes() == b"abc3456789012345678901234"


def test_closed_pipe_is_no_question_of_space(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = PartFile(pipe)
    os.close(reader)
    with pytest.raises(OutputError) as caught:
        file.write(b"row\n")
    assert str(caught.value) == f"{pipe}: cannot be written: Broken pipe"
    file.abandon()
