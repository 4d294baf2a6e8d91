"""Labels into a packet: what people and other programs wrote stays, what was ours can go."""

from __future__ import annotations

import re
import time

import pytest

from clipcli.errors import KeywordsError
from clipcli.keywords.fields import FIELDS
from clipcli.keywords.packet import change
from clipcli.keywords.provenance import OurLabel
from clipcli.keywords.xmp import MAX_BYTES, read_packet

HEAD = '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 6.0">'
RDF = '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "mediapro": "http://ns.iview-multimedia.com/mediapro/1.0/",
    "acdsee": "http://ns.acdsee.com/iptc/1.0/",
}


def label(name: str, score: float = 0.931, confirmed: bool = False) -> OurLabel:
    return OurLabel(name, "lite", "a photo of it.", score, "2026-11-28", confirmed)


def labels(*names: str, confirmed: bool = False) -> list[OurLabel]:
    return [label(name, confirmed=confirmed) for name in names]


def labelled(packet: bytes | None, labels: list[OurLabel], clear: bool = False) -> bytes | None:
    return change(packet, labels, clear).packet


def packet(properties: str = "", attributes: str = "") -> bytes:
    """A sidecar of another program."""
    known = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    return (
        f"{HEAD}\n {RDF} {known}>\n"
        f'  <rdf:Description rdf:about=""{attributes}>{properties}\n  </rdf:Description>\n'
        " </rdf:RDF>\n</x:xmpmeta>\n"
    ).encode()


def array(name: str, *entries: str, kind: str = "Bag") -> str:
    items = "".join(f"<rdf:li>{entry}</rdf:li>" for entry in entries)
    return f"<{name}><rdf:{kind}>{items}</rdf:{kind}></{name}>"


def fields(data: bytes | None) -> dict[str, list[str]]:
    """The keyword fields that stand, with their entries."""
    assert data is not None
    read = read_packet(data)
    return {field.name: field.entries(read) for field in FIELDS if field.stands(read)}


def written(before: bytes | None, *names: str) -> bytes:
    after = labelled(before, labels(*names))
    assert after is not None
    assert labelled(after, labels(*names)) == after
    return after


# --- what is written


def test_a_flat_label_is_a_subject_and_a_path_has_its_levels_too() -> None:
    assert fields(written(None, "dog", "2024")) == {"dc:subject": ["dog", "2024"]}
    assert fields(written(None, "animal/dog", "box / carton")) == {
        "dc:subject": ["dog", "box / carton"],
        "lr:hierarchicalSubject": ["animal|dog", "box / carton"],
        "digiKam:TagsList": ["animal/dog", "box ∕ carton"],  # where / would begin a level
    }


def test_the_kinds_of_container_are_those_that_readers_expect() -> None:
    text = written(packet(array("dc:subject", "x", kind="Seq")), "animal/dog").decode()
    assert re.findall(r"<(dc:subject|lr:\w+|digiKam:\w+)[^>]*>\s*<rdf:(\w+)>", text) == [
        ("dc:subject", "Bag"),
        ("lr:hierarchicalSubject", "Bag"),
        ("digiKam:TagsList", "Seq"),
    ]


def test_every_field_that_stands_gets_the_label() -> None:
    tree = '&lt;Categories>&lt;Category Assigned="1">car&lt;/Category>&lt;/Categories>'
    before = packet(
        array("digiKam:TagsList", "thing/car", kind="Seq")
        + array("MicrosoftPhoto:LastKeywordXMP", "thing/car")
        + array("mediapro:CatalogSets", "thing|car")
        + f"<acdsee:categories>{tree}</acdsee:categories>"
    )
    after = written(before, "animal/dog")
    assert fields(after) == {
        "dc:subject": ["dog"],
        "lr:hierarchicalSubject": ["thing|car", "animal|dog"],
        "digiKam:TagsList": ["thing/car", "animal/dog"],
        "MicrosoftPhoto:LastKeywordXMP": ["thing/car", "animal/dog"],
        "mediapro:CatalogSets": ["thing|car", "animal|dog"],
        "acdsee:categories": ["car", "animal|dog"],
    }
    assert fields(labelled(after, [])) == fields(before)


def test_a_new_field_of_levels_holds_the_words_of_others_which_it_would_hide() -> None:
    before = packet(array("dc:subject", "Anna", "Rome"))
    after = written(before, "animal/dog")
    assert fields(after)["digiKam:TagsList"] == ["Anna", "Rome", "animal/dog"]
    assert fields(labelled(after, [])) == {"dc:subject": ["Anna", "Rome"]}


def test_texts_in_attributes_and_outside_of_containers_are_entries_too() -> None:
    after = written(packet("<lr:hierarchicalSubject>a|b</lr:hierarchicalSubject>",
                           ' dc:subject="Anna"'), "dog")  # fmt: skip
    assert fields(after) == {
        "dc:subject": ["Anna", "dog"],
        "lr:hierarchicalSubject": ["a|b", "dog"],
    }


def test_a_field_in_a_second_description_is_found_there() -> None:
    second = "</rdf:Description><rdf:Description rdf:about=''>"
    after = written(packet(second + array("dc:subject", "Anna")), "dog")
    assert fields(after) == {"dc:subject": ["Anna", "dog"]}
    assert after.count(b"<dc:subject") == 1


def test_provenance_says_where_a_label_comes_from_and_keeps_its_first_date() -> None:
    first = written(None, "dog").decode()
    for key, value in {"model": "lite", "prompts": "a photo of it.", "score": "0.93",
                       "written": "2026-11-28", "status": "automatic"}.items():  # fmt: skip
        assert f"<clipcli:{key}>{value}</clipcli:{key}>" in first
    later = OurLabel("dog", "large", "a dog.", 0.5, "2027-01-01")
    second = (labelled(first.encode(), [later]) or b"").decode()
    assert "<clipcli:model>large<" in second
    assert "<clipcli:score>0.50<" in second
    assert "<clipcli:written>2026-11-28<" in second


def test_two_labels_with_one_last_part_share_a_subject() -> None:
    both = written(None, "animal/bat", "sport/bat")
    assert fields(both)["dc:subject"] == ["bat"]
    assert fields(both)["digiKam:TagsList"] == ["animal/bat", "sport/bat"]
    one = labelled(both, labels("sport/bat"))
    assert fields(one)["dc:subject"] == ["bat"]
    assert fields(one)["digiKam:TagsList"] == ["sport/bat"]
    assert labelled(one, []) is None


# --- whose a word is


@pytest.mark.parametrize("theirs", ["dog", "Dog", "DOG"])
def test_a_word_that_a_person_wrote_stays_theirs(theirs: str) -> None:
    before = packet(array("dc:subject", "Anna", theirs))
    after = written(before, "dog")
    assert fields(after) == fields(before)
    assert fields(labelled(after, [])) == fields(before)
    assert fields(labelled(after, [], clear=True)) == fields(before)


def test_spellings_of_one_word_are_one_word() -> None:
    assert fields(written(packet(array("dc:subject", "CAFE\u0301")), "café"))["dc:subject"] == [
        "CAFE\u0301"
    ]


def test_a_word_of_theirs_is_made_consistent_where_another_field_lacks_it() -> None:
    before = packet(array("dc:subject", "Dog") + array("digiKam:TagsList", "Rome", kind="Seq"))
    after = written(before, "dog")
    assert fields(after) == {"dc:subject": ["Dog"], "digiKam:TagsList": ["Rome", "dog"]}
    assert fields(labelled(after, [], clear=True)) == fields(before)


def test_a_label_that_no_longer_applies_is_taken_back() -> None:
    changed = change(written(packet(array("dc:subject", "Anna")), "dog", "snow"), labels("cat"))
    assert fields(changed.packet) == {"dc:subject": ["Anna", "cat"]}
    assert changed.added == ("cat",)
    assert changed.taken_back == ("dog", "snow")


def test_a_word_that_a_person_took_out_is_not_written_again() -> None:
    ours = written(packet(array("dc:subject", "Anna")), "animal/dog", "snow")
    for field in ("dc:subject", "lr:hierarchicalSubject"):
        edited = re.sub(
            rf"(<{field}.*?)<rdf:li>(animal\|)?dog</rdf:li>", r"\1", ours.decode(), flags=re.DOTALL
        )
        assert edited != ours.decode()
        after = written(edited.encode(), "animal/dog", "snow")
        assert not any("dog" in entry for entries in fields(after).values() for entry in entries)
        assert "snow" in fields(after)["dc:subject"]
        again = labelled(labelled(after, labels("snow")), labels("animal/dog"))
        assert "dog" not in fields(again)["dc:subject"]
        confirmed = labelled(after, labels("animal/dog", confirmed=True))
        assert "dog" in fields(confirmed)["dc:subject"]


def test_a_field_that_another_program_dropped_is_no_decision() -> None:
    ours = written(packet(array("dc:subject", "Anna")), "animal/dog").decode()
    edited = re.sub(r"<digiKam:TagsList.*?</digiKam:TagsList>", "", ours, flags=re.DOTALL)
    assert "animal/dog" in fields(written(edited.encode(), "animal/dog"))["digiKam:TagsList"]


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        # in another field, as a photo manager does that writes them all
        (
            ("</dc:subject>", "</dc:subject>" + array("mediapro:CatalogSets", "Dog")),
            {"dc:subject": ["Anna", "dog"], "mediapro:CatalogSets": ["Dog"]},
        ),
        # beside ours, in another case
        (("<rdf:li>dog", "<rdf:li>DOG</rdf:li><rdf:li>dog"), {"dc:subject": ["Anna", "DOG"]}),
        (("<rdf:li>dog", "<rdf:li>Dog"), {"dc:subject": ["Anna", "Dog"]}),
    ],
)
def test_a_word_of_ours_that_a_person_wrote_too_becomes_theirs(
    edit: tuple[str, str], expected: dict[str, list[str]]
) -> None:
    ours = written(packet(array("dc:subject", "Anna")), "dog").decode()
    edited = written(ours.replace(*edit).encode(), "dog")
    assert fields(edited) == expected
    assert fields(labelled(edited, labels("cat"), clear=True)) == expected


def test_copies_of_all_keywords_in_new_fields_are_no_decision() -> None:
    ours = written(packet(array("dc:subject", "Anna")), "animal/dog", "snow")
    tree = (
        '&lt;Categories>&lt;Category Assigned="1">Anna&lt;/Category>&lt;Category Assigned="0">'
        'animal&lt;Category Assigned="1">dog&lt;/Category>&lt;/Category>&lt;Category'
        ' Assigned="1">snow&lt;/Category>&lt;/Categories>'
    )
    copies = (
        array("MicrosoftPhoto:LastKeywordXMP", "Anna", "animal/dog", "snow")
        + array("mediapro:CatalogSets", "Anna", "animal|dog", "snow")
        + f"<acdsee:categories>{tree}</acdsee:categories>"
    )
    edited = ours.replace(b"</dc:subject>", b"</dc:subject>" + copies.encode())
    assert fields(labelled(edited, labels("animal/dog", "snow"))) == fields(edited)
    for after in (written(edited, "cat"), labelled(edited, [], clear=True)):
        for entries in fields(after).values():
            assert entries == ["Anna", "cat"] or entries == ["Anna"]
    # of a field that says less, or of one word, a person may have written it
    for before, copy in (
        (ours, array("mediapro:CatalogSets", "snow")),
        (written(packet(), "snow"), array("mediapro:CatalogSets", "snow")),
    ):
        edited = before.replace(b"</dc:subject>", b"</dc:subject>" + copy.encode())
        assert "snow" in fields(labelled(edited, [], clear=True))["mediapro:CatalogSets"]


def test_a_keyword_with_qualifiers_is_its_value_and_an_empty_one_is_none() -> None:
    item = '<rdf:li rdf:parseType="Resource"><rdf:value>dog</rdf:value><lr:q>1</lr:q></rdf:li>'
    before = packet(f"<dc:subject><rdf:Bag>{item}<rdf:li/></rdf:Bag></dc:subject>")
    after = written(before, "dog", "thing/car")
    assert fields(after) == {
        "dc:subject": ["dog", "car"],
        "lr:hierarchicalSubject": ["dog", "thing|car"],
        "digiKam:TagsList": ["dog", "thing/car"],
    }
    assert item in after.decode()


def test_what_a_person_confirmed_outlives_later_runs() -> None:
    wrong = written(packet(), "wolf")
    confirmed = labelled(wrong, labels("dog", confirmed=True))
    assert fields(confirmed)["dc:subject"] == ["dog"]
    later = labelled(confirmed, labels("wolf", "snow"))
    assert fields(later)["dc:subject"] == ["dog", "snow"]  # the wolf was a mistake
    assert fields(labelled(later, [])) == {"dc:subject": ["dog"]}
    assert labelled(later, [], clear=True) == packet()


# --- what stays as it was


def test_all_round_and_beside_the_labels_stays_as_it_was() -> None:
    before = (
        "\ufeff<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>\r\n"
        "<!-- made by </x:xmpmeta> hand -->\r\n"
        f"{HEAD}\r\n {RDF}>\r\n"
        '  <rdf:Description xmlns:odd="urn:odd" rdf:about="" odd:a="1 &lt; 2 &#10; 3">\r\n'
        "   <!-- a note -->\r\n   <odd:raw><![CDATA[<b> & ]]></odd:raw>\r\n"
        "  </rdf:Description>\r\n </rdf:RDF>\r\n</x:xmpmeta>\r\n"
        f"<?xpacket end='w'?>{' ' * 50}"
    ).encode()
    after = written(before, "animal/dog")
    start = after.index(b"<!-- a note")
    assert after.startswith(before[: before.index(b"  </rdf:Description>")])
    assert after[start:].endswith(before[before.index(b"  </rdf:Description>") :])
    assert b"\n" not in after.replace(b"\r\n", b"")
    assert labelled(after, []) == before


def test_a_sidecar_of_ours_that_says_nothing_more_is_none_and_that_of_others_stays() -> None:
    assert labelled(None, []) is None
    assert labelled(written(None, "animal/dog"), []) is None
    assert labelled(written(packet(), "animal/dog"), []) == packet()
    rated = written(None, "dog").replace(
        b'rdf:about=""', b'rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="3"'
    )
    assert b"xmp:Rating" in (labelled(rated, []) or b"")


# --- what is refused

BAD_PACKETS = {
    b"": "damaged XML",
    b"no xml": "damaged XML",
    b"<html><body/></html>": "no rdf:RDF",
    packet()[:-30]: "damaged XML",
    b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + packet(): "a DOCTYPE",
    packet("&a;"): "damaged XML: Entity 'a' not defined",
    packet().decode().encode("utf-16"): "no UTF-8",
    b'<?xml version="1.0" encoding="latin1"?>' + packet(): "another encoding",
    packet(" " * MAX_BYTES): "bytes of XMP; expected at most 1,048,576",
    packet("<a>" * 70 + "</a>" * 70): "nested more than 64 deep",
    b"<!-- -->" * 100_000 + b"<a/>": "no rdf:RDF",
    b"</a><?" * 170_000: "damaged XML",
}


@pytest.mark.parametrize("why", BAD_PACKETS.values())
def test_what_is_no_packet_is_refused_in_one_line(why: str) -> None:
    for data in (one for one, reason in BAD_PACKETS.items() if reason == why):
        with pytest.raises(KeywordsError) as caught:
            labelled(data, labels("dog"))
        assert why in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_label_that_xml_cannot_hold_is_refused() -> None:
    for name in ("a\x07b", "a\udc80b", "\0"):
        with pytest.raises(KeywordsError, match="a character that XML cannot hold"):
            labelled(None, labels(name))


def test_a_packet_full_of_keywords_takes_no_longer_than_reading_it() -> None:
    """Quadratic, it would take minutes."""
    many = array("dc:subject", *(f"w{n}" for n in range(10_000)))
    start = time.process_time()  # of this process: others may be at work
    after = written(packet(many), *(f"p{n}/l{n}" for n in range(300)))
    assert len(fields(after)["digiKam:TagsList"]) == 10_300
    assert time.process_time() - start < 30
