"""What can go wrong, and the exit code that says so.

    ClipcliError                  1   the run failed
    ├── UsageError                2   an option, a label or a template that cannot work
    │   └── TextTooLongError      2   a text longer than the model's context
    ├── ModelError                1   no usable model
    │   ├── CheckpointError       1   a file that is no CLIP, or not a safe one
    │   └── DownloadError         1   a published model that could not be fetched
    ├── PhotoError                -   one photograph that cannot be read; becomes a record
    │   └── PassingPhotoError     -   and which may be read the next time
    ├── KeywordsError             -   a sidecar that cannot be written; its photograph is named
    ├── ExifToolError             1   no exiftool that works
    ├── EmbeddingFileError        1   a file of embeddings that cannot be read
    ├── CacheError                1   a cache that `clipcli cache` cannot look after
    ├── OutputError               1   results that cannot be written
    ├── NothingReadError          1   not one photograph could be read, or none was there
    └── LockedError               4   another run holds the lock
    ClosedPipeError               0   who read our output has had enough
    StoppedError            130, 143  Ctrl-C, SIGTERM

Every message is one line: what was found, what was expected, what to do.
"""

from __future__ import annotations

import re
from enum import IntEnum

# What a terminal may obey, or what turns the rest of its line around: C0, DEL and C1; separators of
# lines and paragraphs; bidi embeddings, overrides and isolates, and the other switches beside them;
# lone surrogates, which are bytes that are no UTF-8, such as 0x9b, which begins a command.
# All else stays, also what isprintable() refuses: joiners, which Persian and emoji need, no-break
# spaces, direction marks, which can do no more than a letter, and letters newer than this Python.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u206f\ud800-\udfff]")


class ExitCode(IntEnum):
    """Exit codes of the program, as the README lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PARTLY_READ = 3
    LOCKED = 4
    INTERRUPTED = 130
    TERMINATED = 143


class ClipcliError(Exception):
    """The run failed for a reason that the user can understand and mend."""

    exit_code = ExitCode.FAILED


class UsageError(ClipcliError):
    """What was asked for cannot work."""

    exit_code = ExitCode.USAGE


class TextTooLongError(UsageError):
    """A text has more tokens than the model's context holds."""


class ModelError(ClipcliError):
    """There is no model to run with."""


class CheckpointError(ModelError):
    """A checkpoint is not readable, not safe, or not a CLIP."""

    def __str__(self) -> str:
        return one_line(super().__str__())  # names and values in it may come from the file


class DownloadError(ModelError):
    """A published model is not on disk and could not be fetched."""


class PhotoError(ClipcliError):
    """A photograph cannot be read; the run goes on without it."""


class PassingPhotoError(PhotoError):
    """Not the file itself is to blame: its disk, this machine's memory, a setting of the host."""


class KeywordsError(ClipcliError):
    """The keywords of one photograph cannot be read or written; the run goes on without it."""


class ExifToolError(ClipcliError):
    """There is no exiftool that works."""


class EmbeddingFileError(ClipcliError):
    """A file of embeddings cannot be read, or belongs to another model."""


class CacheError(ClipcliError):
    """The cache cannot be looked after; a run that only uses it does without."""


class OutputError(ClipcliError):
    """Results cannot be written."""


class NothingReadError(ClipcliError):
    """Not one photograph could be read, or none was there."""


class LockedError(ClipcliError):
    """Another run is writing the same file."""

    exit_code = ExitCode.LOCKED


class ClosedPipeError(Exception):
    """Nobody reads our output any more; not an error, but the end."""


class StoppedError(BaseException):
    """Ctrl-C or SIGTERM, as an exception that passes every `except Exception`."""

    def __init__(self, word: str, exit_code: ExitCode) -> None:
        super().__init__(word)
        self.exit_code = exit_code


def one_line(text: str) -> str:
    """`text` fit for one line of a terminal, which shows control characters and does not obey.

    `\\n` and `\\x1b` as in Python; from DEL on `\\u009b`, an escape that JSON knows too.
    """
    return _OBEYED.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if character < "\x7f":
        return character.encode("unicode_escape").decode()
    return f"\\u{ord(character):04x}"
