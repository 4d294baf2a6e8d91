"""Where the records come from that tests make by hand."""

from __future__ import annotations

from clipcli.records import MadeBy

LITE = MadeBy("lite", "ab" * 32, "fp32", "crop")
