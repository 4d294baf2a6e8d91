"""Keyword fields that are XMP arrays, an `rdf:li` a keyword."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from lxml import etree

from clipcli.keywords.xmp import RDF, Packet, append, elements, remove

BAG, SEQ = f"{{{RDF}}}Bag", f"{{{RDF}}}Seq"
_CONTAINERS = (BAG, SEQ, f"{{{RDF}}}Alt")
_LI, _VALUE = f"{{{RDF}}}li", f"{{{RDF}}}value"
# stands for a slash inside a word where a slash begins a level
DIVISION_SLASH = "\u2215"


@dataclass(frozen=True)
class ArrayField:
    """A property that holds an array. levels: what joins them; "" where a keyword has none."""

    prefix: str
    uri: str
    local: str
    container: str = BAG
    levels: str = ""

    @property
    def name(self) -> str:
        return f"{self.prefix}:{self.local}"

    @property
    def tag(self) -> str:
        return f"{{{self.uri}}}{self.local}"

    def entry(self, parts: Sequence[str]) -> str:
        """A path of labels as it stands here."""
        if not self.levels:
            return parts[-1]
        return self.levels.join(part.replace(self.levels, DIVISION_SLASH) for part in parts)

    def parts(self, entry: str) -> tuple[str, ...]:
        """An entry as a path."""
        return tuple(entry.split(self.levels)) if self.levels else (entry,)

    def stands(self, packet: Packet) -> bool:
        return any(
            one.find(self.tag) is not None or self.tag in one.attrib
            for one in packet.descriptions()
        )

    def entries(self, packet: Packet) -> list[str]:
        return [text for text, _ in self._items(packet)]

    def add(self, packet: Packet, entries: Sequence[str]) -> None:
        """Put entries last. A container that is wrong, or is none, is mended."""
        container = self._container(packet)
        for entry in entries:
            append(container, etree.Element(_LI)).text = entry

    def remove(self, packet: Packet, entries: Set[str]) -> None:
        """Take the last of each of these entries out."""
        left = {*entries}
        for text, item in reversed([*self._items(packet)]):
            if text in left and item.tag == _LI:
                left.remove(text)
                remove(item)

    def delete(self, packet: Packet) -> None:
        """Take the property out."""
        for node in packet.descriptions():
            self._drop_attribute(node)
            for one in node.findall(self.tag):
                remove(one)

    def _items(self, packet: Packet) -> Iterator[tuple[str, etree._Element]]:
        """Each entry and its element; of a bare text, the property or the node that has it."""
        for node in packet.descriptions():
            if text := node.get(self.tag, "").strip():
                yield text, node
            for one in node.findall(self.tag):
                if text := (one.text or "").strip():
                    yield text, one
                for container in elements(one):
                    for item in container.findall(_LI):
                        if text := _text(item):
                            yield text, item

    def _container(self, packet: Packet) -> etree._Element:
        """The first container, of the right kind; bare texts become entries of it."""
        found = next(iter(self._properties(packet)), None)
        if found is None:
            found = append(
                packet.description(), etree.Element(self.tag, nsmap={self.prefix: self.uri})
            )
        bare = [text for text, item in self._items(packet) if item.tag != _LI]
        for node in packet.descriptions():
            self._drop_attribute(node)
        for one in self._properties(packet):
            if (one.text or "").strip():
                one.text = None
        container = next((one for one in elements(found) if one.tag in _CONTAINERS), None)
        if container is None:
            container = append(found, etree.Element(self.container))
        container.tag = self.container
        for text in bare:
            append(container, etree.Element(_LI)).text = text
        return container

    def _properties(self, packet: Packet) -> list[etree._Element]:
        return [one for node in packet.descriptions() for one in node.findall(self.tag)]

    def _drop_attribute(self, node: etree._Element) -> None:
        if self.tag in node.attrib:
            del node.attrib[self.tag]


def _text(item: etree._Element) -> str:
    """A keyword, without what else may be said of it (XMP calls these qualifiers)."""
    value = next(item.iter(_VALUE), item)
    return "".join(map(str, value.itertext())).strip()
