"""IPTC keywords, which Lightroom prefers in a JPEG; they lie outside the XMP packet.

IPTC-NAA IIM 4.2, 2:25.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from clipcli.keywords.xmp import Packet

MAX_BYTES = 64  # of a keyword


@dataclass
class IptcKeywords:
    """A keyword field that is a list of words; no packet is needed for it."""

    words: list[str]
    name = "iptc:Keywords"
    levels = ""

    def entry(self, parts: Sequence[str]) -> str:
        """The last part, cut where it is longer than the format allows."""
        return parts[-1].encode()[:MAX_BYTES].decode(errors="ignore")

    def parts(self, entry: str) -> tuple[str, ...]:
        return (entry,)

    def stands(self, packet: Packet) -> bool:
        return bool(self.words)

    def entries(self, packet: Packet) -> list[str]:
        return [*self.words]

    def add(self, packet: Packet, entries: Sequence[str]) -> None:
        self.words += entries

    def remove(self, packet: Packet, entries: Set[str]) -> None:
        """Take the last of each of these entries out."""
        left = {*entries}
        for n in reversed(range(len(self.words))):
            if self.words[n] in left:
                left.remove(self.words.pop(n))

    def delete(self, packet: Packet) -> None:
        self.words.clear()
