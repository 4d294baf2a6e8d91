"""XMP packets as trees: read without trust, and written back with all that stands round the root.

Adobe XMP Specification Part 1 (ISO 16684-1). A packet may come from anybody: no entities, no DTD,
nothing from the network, and the limits of PhotoPrism, which reads no larger ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from lxml import etree

from clipcli.errors import KeywordsError, one_line

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
X = "adobe:ns:meta/"
TOOLKIT = "clipcli"  # says in a packet which program made it
EMPTY = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="{X}" x:xmptk="{TOOLKIT}">
 <rdf:RDF xmlns:rdf="{RDF}">
  <rdf:Description rdf:about="">
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()
_AROUND = {"<?": "?>", "<!--": "-->"}  # what may stand round the root
_BLANKS = re.compile(r"[\ufeff\s]*")
_OTHER_ENCODING = re.compile(r"<\?xml\s[^>]*encoding\s*=\s*[\"'](?!utf-8)", re.IGNORECASE)


@dataclass
class Packet:
    """before, after: the text round the root, as it was; is_crlf: how its lines end."""

    before: str
    root: etree._Element
    after: str
    is_crlf: bool = False

    @cached_property
    def rdf(self) -> etree._Element:
        found = self.root if self.root.tag == f"{{{RDF}}}RDF" else self.root.find(f"{{{RDF}}}RDF")
        if found is None:
            raise KeywordsError("no rdf:RDF in it; expected an XMP packet")
        return found

    def descriptions(self) -> list[etree._Element]:
        """The nodes whose children and attributes are properties."""
        return self.rdf.findall(f"{{{RDF}}}Description")

    def description(self) -> etree._Element:
        """The first one, made where there is none."""
        found = self.descriptions()
        if found:
            return found[0]
        made = etree.Element(f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})
        return append(self.rdf, made)

    def is_ours_and_empty(self) -> bool:
        """Whether we made it, and it says nothing more."""
        return self.root.get(f"{{{X}}}xmptk") == TOOLKIT and not any(
            len(one) or set(one.attrib) - {f"{{{RDF}}}about"} for one in self.rdf
        )

    def to_bytes(self) -> bytes:
        text: str = etree.tostring(self.root, encoding="unicode", with_tail=False)
        if self.is_crlf:
            text = text.replace("\n", "\r\n")
        data = (self.before + text + self.after).encode()
        _check_size(len(data))
        return data


def read_packet(data: bytes) -> Packet:
    """Raises KeywordsError for what is no XMP in UTF-8, or is too large or too deep."""
    _check_size(len(data))
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise KeywordsError("no UTF-8; expected an XMP packet in UTF-8") from error
    start, end = _root_span(text)
    before, inside, after = text[:start], text[start:end], text[end:]
    if _OTHER_ENCODING.search(before):
        raise KeywordsError("another encoding than UTF-8; expected an XMP packet in UTF-8")
    if inside.startswith("<!DOCTYPE"):
        raise KeywordsError("a DOCTYPE, which no XMP packet has; expected an XMP packet")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, strip_cdata=False
    )
    try:
        root = etree.fromstring(inside.encode(), parser)
    except etree.XMLSyntaxError as error:
        raise KeywordsError(
            one_line(f"damaged XML: {error.msg}; expected an XMP packet")
        ) from error
    _check_depth(root)
    is_crlf = "\r\n" in inside and "\n" not in inside.replace("\r\n", "")
    packet = Packet(before, root, after, is_crlf)
    _ = packet.rdf  # refused now, where there is none
    return packet


def _root_span(text: str) -> tuple[int, int]:
    """Where the root begins and ends, between blanks, instructions and comments."""
    start, end = _after_blanks(text, 0), len(text.rstrip())
    while opening := next((one for one in _AROUND if text.startswith(one, start)), None):
        closing = _AROUND[opening]
        found = text.find(closing, start)
        if found < 0:
            return 0, len(text)  # the parser says what is wrong
        start = _after_blanks(text, found + len(closing))
    while opening := next((one for one in _AROUND if text.endswith(_AROUND[one], start, end)), ""):
        end = text.rfind(opening, start, end)
        if end < 0:
            return 0, len(text)
        while text[end - 1].isspace():
            end -= 1
    return start, end


def _after_blanks(text: str, start: int) -> int:
    match = _BLANKS.match(text, start)
    return start if match is None else match.end()


def _check_size(n_bytes: int) -> None:
    if n_bytes > MAX_BYTES:
        raise KeywordsError(f"{n_bytes:,} bytes of XMP; expected at most {MAX_BYTES:,}")


def _check_depth(root: etree._Element) -> None:
    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > MAX_DEPTH:
            raise KeywordsError(f"XMP nested more than {MAX_DEPTH} deep; expected less")


def elements(parent: etree._Element) -> Iterator[etree._Element]:
    """The children that are elements, without comments."""
    return (one for one in parent if isinstance(one.tag, str))


def append(parent: etree._Element, child: etree._Element) -> etree._Element:
    """Put a child last, indented as its siblings are, or one blank deeper than its parent."""
    if len(parent):
        inner, outer = parent.text, parent[-1].tail
        parent[-1].tail = inner
    else:  # what stands in it is blank
        outer = _indentation(parent)
        inner = None if outer is None else f"{outer} "
        parent.text = inner
    child.tail = outer
    parent.append(child)
    return child


def remove(child: etree._Element) -> None:
    """Take a child out, and the blank line that it would leave."""
    parent = child.getparent()
    assert parent is not None
    before = child.getprevious()
    if child.getnext() is None:
        if before is not None:
            before.tail = child.tail
        else:
            parent.text = child.tail
    parent.remove(child)


def _indentation(element: etree._Element) -> str | None:
    """The line end and blanks before an element, if it begins a line."""
    before, parent = element.getprevious(), element.getparent()
    text = before.tail if before is not None else None if parent is None else parent.text
    if not text or "\n" not in text:
        return None
    blanks = text[text.rindex("\n") :]
    return blanks if not blanks.strip() else None
