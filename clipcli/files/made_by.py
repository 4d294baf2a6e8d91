"""Whether two answers may be compared: the one place where provenance is checked.

Preprocessing has names of its own on disk, `crop`, `pad exact`, `reference`; version 0.1.0 wrote
the options of the command line there, `--fit pad --exact`, which are still read.
"""

from __future__ import annotations

from clipcli.errors import ClipcliError, UsageError
from clipcli.records import TEXT, MadeBy


def stored_name(preprocessing: str) -> str:
    """The name of a preprocessing read from a file of any version."""
    return preprocessing.replace("--fit ", "").replace("--", "")


def as_options(preprocessing: str) -> str:
    """The options that ask for a preprocessing."""
    if preprocessing == "reference":
        return "--reference"
    fit, _, exact = preprocessing.partition(" ")
    return f"--fit {fit} --exact" if exact else f"--fit {fit}"


def check_made_by(
    made_by: MadeBy,
    now: MadeBy,
    source: str,
    cure: str,
    error: type[ClipcliError] = UsageError,
) -> None:
    """Raises `error` if `source` was made by another model than `now`, or from photographs that
    were prepared in another way. cure: what to do instead of going back to that model."""
    if made_by.fingerprint != now.fingerprint:
        raise error(
            f"{source}: made by {made_by.model} ({made_by.fingerprint[:12]}), and this is"
            f" {now.model} ({now.fingerprint[:12]}); pass --model {made_by.model}, or {cure}"
        )
    if TEXT not in (made_by.preprocessing, now.preprocessing) and (
        made_by.preprocessing != now.preprocessing
    ):
        wanted = as_options(made_by.preprocessing)
        raise error(
            f"{source}: its photographs were prepared with {wanted}, these with"
            f" {as_options(now.preprocessing)}; pass {wanted}, or {cure}"
        )


def precision_note(made_by: MadeBy, now: MadeBy, source: str) -> str | None:
    """A note that the model now runs in another precision, or None where it does not."""
    if made_by.precision == now.precision:
        return None
    return (
        f"{source}: made in {made_by.precision}, and this is {now.precision}: close calls may end"
        f" otherwise; --precision {made_by.precision} is exact"
    )
