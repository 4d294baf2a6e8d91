"""What a packet says of our labels, in a namespace of our own: whose they are and where from.

clipcli:labels        Bag of structures, one a label: see `Note`
clipcli:madeFields    Bag of the keyword fields that stand there because of us
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar, get_args

from lxml import etree

from clipcli.keywords.xmp import RDF, Packet, append, elements, remove

PREFIX = "clipcli"
URI = "https://clipcli.dev/ns/1.0/"
_LABELS, _MADE = f"{{{URI}}}labels", f"{{{URI}}}madeFields"
_BAG, _LI, _PARSE_TYPE = (f"{{{RDF}}}{local}" for local in ("Bag", "li", "parseType"))
T = TypeVar("T")
Owner = Literal["ours", "theirs", "removed"]


@dataclass(frozen=True)
class OurLabel:
    """A label to write. name: the whole path; prompts: what the model was shown, in short;
    score: 0 to 1; written: the date of its first writing, as 2026-11-28; is_confirmed: a person
    said so."""

    name: str
    model: str = ""
    prompts: str = ""
    score: float | None = None
    written: str = ""
    is_confirmed: bool = False


@dataclass(frozen=True)
class Note:
    """What is known of a label that we were to write.

    owner: `theirs` if a person wrote the word too, which then stays; `removed` if a person took
    it out, which then stays out. fields: names of those where the word stands because of us.
    """

    name: str
    owner: Owner
    fields: frozenset[str] = frozenset()
    is_confirmed: bool = False
    origin: dict[str, str] = field(default_factory=dict)  # model, prompts, score, written

    def now(self, label: OurLabel) -> Note:
        """The note of a label that was to be written again. Its first date stays, and so do the
        prompts of its model where they are not known, as from rows."""
        before = self.origin if self.origin.get("model") == label.model else {}
        origin = {
            "model": label.model,
            "prompts": label.prompts or before.get("prompts", ""),
            "score": "" if label.score is None else f"{label.score:.2f}",
            "written": self.origin.get("written") or label.written,
        }
        return replace(
            self, is_confirmed=label.is_confirmed, origin={k: v for k, v in origin.items() if v}
        )


def read_notes(packet: Packet) -> dict[str, Note]:
    """By the label's name. What is none of our notes is left out."""
    notes = {}
    for item in _items(packet, _LABELS):
        values = {etree.QName(one).localname: one.text or "" for one in elements(item)}
        values |= {etree.QName(str(key)).localname: str(one) for key, one in item.attrib.items()}
        owner = next((one for one in get_args(Owner) if one == values.get("keyword")), None)
        if owner is None or not (name := values.get("label", "")):
            continue
        origin = {
            key: values[key] for key in ("model", "prompts", "score", "written") if values.get(key)
        }
        fields = frozenset(values.get("fields", "").split())
        notes[name] = Note(name, owner, fields, values.get("status") == "confirmed", origin)
    return notes


def read_made_fields(packet: Packet) -> frozenset[str]:
    return frozenset((item.text or "").strip() for item in _items(packet, _MADE))


def write_notes(packet: Packet, notes: Iterable[Note], made_fields: Iterable[str]) -> None:
    """Replace what the packet says of our labels."""
    for node in packet.descriptions():
        for tag in (_LABELS, _MADE):
            for one in node.findall(tag):
                remove(one)
    for bag, note in _bags(packet, _LABELS, notes):
        item = append(bag, etree.Element(_LI, {_PARSE_TYPE: "Resource"}))
        values = {
            "label": note.name,
            "status": "confirmed" if note.is_confirmed else "automatic",
            "keyword": note.owner,
            "fields": " ".join(sorted(note.fields)),
            **note.origin,
        }
        for key, value in values.items():
            if value:
                append(item, etree.Element(f"{{{URI}}}{key}")).text = value
    for bag, name in _bags(packet, _MADE, sorted(made_fields)):
        append(bag, etree.Element(_LI)).text = name


def _bags(packet: Packet, tag: str, values: Iterable[T]) -> Iterator[tuple[etree._Element, T]]:
    """Each value with the one bag for them all, which is made for the first."""
    bag = None
    for value in values:
        if bag is None:
            made = append(packet.description(), etree.Element(tag, nsmap={PREFIX: URI}))
            bag = append(made, etree.Element(_BAG))
        yield bag, value


def _items(packet: Packet, tag: str) -> list[etree._Element]:
    return [
        item
        for node in packet.descriptions()
        for one in node.findall(tag)
        for bag in elements(one)
        for item in bag.findall(_LI)
    ]
