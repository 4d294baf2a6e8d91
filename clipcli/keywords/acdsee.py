"""ACDSee's categories: a small XML of its own, as text in a property."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from lxml import etree

from clipcli.keywords.xmp import Packet

TAG = "{http://ns.acdsee.com/iptc/1.0/}categories"
Parts = tuple[str, ...]


class Categories:
    """A tree of names, in which those with `Assigned="1"` are the photograph's."""

    name = "acdsee:categories"
    levels = "|"

    def entry(self, parts: Sequence[str]) -> str:
        return self.levels.join(parts)

    def parts(self, entry: str) -> Parts:
        return tuple(entry.split(self.levels))

    def stands(self, packet: Packet) -> bool:
        return self._tree(packet) is not None

    def entries(self, packet: Packet) -> list[str]:
        tree = self._tree(packet)
        assigned = [] if tree is None else [*_walk(tree, ())]
        return [self.levels.join(path) for path, one in assigned if one.get("Assigned") == "1"]

    def add(self, packet: Packet, entries: Sequence[str]) -> None:
        tree = self._tree(packet)
        if tree is None:
            return
        for entry in entries:
            node = tree
            for part in self.parts(entry):
                below = next((one for one in node if (one.text or "").strip() == part), None)
                if below is None:
                    below = etree.SubElement(node, "Category", Assigned="0")
                    below.text = part
                node = below
            node.set("Assigned", "1")
        self._put(packet, tree)

    def remove(self, packet: Packet, entries: Set[str]) -> None:
        """Take categories out, and those above them that have no other reason to stand."""
        tree = self._tree(packet)
        if tree is None:
            return
        for path, node in [*_walk(tree, ())]:
            if self.entry(path) in entries:
                node.set("Assigned", "0")
                _prune(node)
        self._put(packet, tree)

    def delete(self, packet: Packet) -> None:
        """Never asked for: it is kept up, and not made."""

    def _tree(self, packet: Packet) -> etree._Element | None:
        """The XML, where it is one."""
        texts = [str(one.get(TAG) or one.findtext(TAG) or "") for one in packet.descriptions()]
        text = next((one for one in texts if one.strip()), None)
        if text is None or "<!DOCTYPE" in text:
            return None
        parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True)
        try:
            tree = etree.fromstring(text.encode(), parser)
        except etree.XMLSyntaxError:
            return None
        return tree if tree.tag == "Categories" else None

    def _put(self, packet: Packet, tree: etree._Element) -> None:
        text = etree.tostring(tree, encoding="unicode")
        for node in packet.descriptions():
            if node.get(TAG, "").strip():
                node.set(TAG, text)
                return
            found = node.find(TAG)
            if found is not None and (found.text or "").strip():
                found.text = text
                return


def _walk(node: etree._Element, above: Parts) -> Iterator[tuple[Parts, etree._Element]]:
    for one in node.iterchildren("Category"):
        path = (*above, (one.text or "").strip())
        yield path, one
        yield from _walk(one, path)


def _prune(node: etree._Element) -> None:
    """Take a category out that is not the photograph's and has none below it, and so upwards."""
    above = node.getparent()
    while above is not None and node.get("Assigned") == "0" and not len(node):
        above.remove(node)
        node, above = above, above.getparent()
