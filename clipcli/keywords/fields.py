"""The keyword fields of XMP. Readers take the first one that they find, each in an order of its
own, so those that stand in a packet are kept alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence, Set
from typing import Protocol

from clipcli.keywords.acdsee import Categories
from clipcli.keywords.array_field import DIVISION_SLASH, SEQ, ArrayField
from clipcli.keywords.xmp import Packet


class KeywordField(Protocol):
    """levels: what joins them, "" where a keyword has none. entry: a path of labels as it stands
    in the field; parts: the way back. stands: whether a packet has the field. remove: of each of
    these entries the last one; delete: the whole field."""

    @property
    def name(self) -> str: ...
    @property
    def levels(self) -> str: ...
    def entry(self, parts: Sequence[str]) -> str: ...
    def parts(self, entry: str) -> tuple[str, ...]: ...
    def stands(self, packet: Packet) -> bool: ...
    def entries(self, packet: Packet) -> list[str]: ...
    def add(self, packet: Packet, entries: Sequence[str]) -> None: ...
    def remove(self, packet: Packet, entries: Set[str]) -> None: ...
    def delete(self, packet: Packet) -> None: ...


_MICROSOFT = "http://ns.microsoft.com/photo/1.0"  # as exiftool has it; digiKam ends it with /
_ACDSEE = "http://ns.acdsee.com/iptc/1.0/"
SUBJECT = ArrayField("dc", "http://purl.org/dc/elements/1.1/", "subject")
HIERARCHIES = (  # written where a label is a path
    ArrayField("lr", "http://ns.adobe.com/lightroom/1.0/", "hierarchicalSubject", levels="|"),
    ArrayField("digiKam", "http://www.digikam.org/ns/1.0/", "TagsList", SEQ, "/"),
)
FIELDS: tuple[KeywordField, ...] = (
    SUBJECT,
    *HIERARCHIES,
    *(
        ArrayField("MicrosoftPhoto", uri, local, levels="/")
        for uri in (_MICROSOFT, f"{_MICROSOFT}/")
        for local in ("LastKeywordXMP", "LastKeywordIPTC")
    ),
    ArrayField(
        "mediapro", "http://ns.iview-multimedia.com/mediapro/1.0/", "CatalogSets", levels="|"
    ),
    ArrayField("acdsee", _ACDSEE, "keywords"),
    Categories(),
)


def word_key(text: str) -> str:
    """The same for spellings of a word that differ by case, by Unicode form, or by what stands for
    a slash."""
    text = unicodedata.normalize("NFC", text.strip().replace(DIVISION_SLASH, "/"))
    return unicodedata.normalize("NFC", text.casefold())
