"""Our labels into one XMP packet, beside those of people and of other programs.

What a person did is a decision. A word that a person wrote is theirs, in whatever case: nothing is
added beside it where it stands, and it is never taken away. A word of ours that a person took out
is not written again, unless a person confirms it or our notes are cleared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from clipcli.errors import KeywordsError
from clipcli.keywords.fields import FIELDS, HIERARCHIES, SUBJECT, KeywordField, word_key
from clipcli.keywords.provenance import (
    Note,
    OurLabel,
    read_made_fields,
    read_notes,
    write_notes,
)
from clipcli.keywords.xmp import EMPTY, Packet, read_packet
from clipcli.labels.label_path import label_parts


@dataclass(frozen=True)
class Change:
    """A packet with our labels: None where nothing at all is left of one that we made.

    added, taken_back: names of labels whose word came into a field because of us, or went.
    """

    packet: bytes | None
    added: tuple[str, ...] = ()
    taken_back: tuple[str, ...] = ()
    is_changed: bool = False


def change(
    packet: bytes | None,
    labels: Sequence[OurLabel],
    clear: bool = False,
    beside: Sequence[KeywordField] = (),
) -> Change:
    """Replace our automatic labels by these, and leave all else as it was.

    Without a change the bytes are the same. Labels that a person confirmed stay; where `labels`
    are a person's, the automatic ones that they leave out count as taken out by a person. clear:
    take back all of ours, and what we noted. beside: fields outside the packet that are to say the
    same, as IPTC in a photograph. Raises KeywordsError for what is no XMP packet, and for a label
    that XML cannot hold.
    """
    if packet is None and (clear or not labels):
        return Change(None)
    writing = _Writing(read_packet(EMPTY if packet is None else packet), beside)
    before = writing.notes, writing.made
    had = writing.with_words()
    try:
        writing.heed_people()
        if clear:
            writing.clear()
        else:
            writing.replace(labels)
        if not writing.is_touched and (writing.notes, writing.made) == before:
            return Change(packet)
        write_notes(writing.packet, writing.notes.values(), writing.made)
    except ValueError as error:  # lxml's, of control characters
        raise KeywordsError("a label with a character that XML cannot hold") from error
    is_left = not writing.packet.is_ours_and_empty()
    has = writing.with_words()
    return Change(
        writing.packet.to_bytes() if is_left else None,
        tuple(sorted(has - had)),
        tuple(sorted(had - has)),
        is_changed=True,
    )


class _Writing:
    """A packet on its way, the notes of our labels by name, and the fields that we made."""

    def __init__(self, packet: Packet, beside: Sequence[KeywordField]) -> None:
        self.packet = packet
        self.beside = beside
        self.fields = (*FIELDS, *beside)
        self.notes = read_notes(packet)
        self.made = read_made_fields(packet)
        self.is_touched = False

    def with_words(self) -> set[str]:
        """Names of labels whose word stands somewhere because of us."""
        return {name for name, note in self.notes.items() if note.fields}

    def heed_people(self) -> None:
        """Note what was done to our words since we wrote them."""
        self._adopt_copies()
        standing = self._standing()
        foreign = {field.name: self._foreign_words(field) for field in standing}
        entries = {field.name: {*field.entries(self.packet)} for field in standing}
        notes, leaving = dict(self.notes), []
        for name, note in self.notes.items():
            word = _word(name)
            with_theirs = {field for field, words in foreign.items() if word in words}
            there = [
                field.entry(label_parts(name)) in entries[field.name]
                for field in standing
                if field.name in note.fields
            ]
            is_gone = bool(note.fields) and not (there and all(there))
            if with_theirs and note.owner == "ours":
                # beside theirs ours is one too many; elsewhere it stays as if it were theirs
                leaving.append(replace(note, fields=note.fields & with_theirs))
                notes[name] = replace(note, owner="theirs", fields=frozenset())
            elif with_theirs and note.owner == "removed":
                notes[name] = replace(note, owner="theirs")
            elif not with_theirs and (note.owner == "theirs" or is_gone):
                leaving.append(note)
                notes[name] = replace(note, owner="removed", fields=frozenset())
            elif note.owner == "ours":
                # a field that another program dropped as a whole is no decision
                notes[name] = replace(note, fields=note.fields & entries.keys())
        self.notes = notes
        self._take_out(leaving)

    def _adopt_copies(self) -> None:
        """Our words are ours too in fields that another program has made since, as digiKam does of
        all keywords when a photograph is rated. One word in one new field may be a person's."""
        ours = {name: note for name, note in self.notes.items() if note.owner == "ours"}
        written = set().union(*(note.fields for note in ours.values()))
        standing = [(field, self._words(field)) for field in self._standing()]
        originals = [words for field, words in standing if field.name in written]
        copies = [
            (field, words)
            for field, words in standing
            if field.name not in written and words in originals
        ]
        if sum(len(words) for _, words in copies) < 2:
            return
        for field, _ in copies:
            entries = field.entries(self.packet)
            for name, note in ours.items():
                if field.entry(label_parts(name)) in entries:
                    fields = self.notes[name].fields | {field.name}
                    self.notes[name] = replace(note, fields=fields)

    def clear(self) -> None:
        """Take back all of ours."""
        leaving, self.notes = self.notes, {}
        self._take_out(leaving.values())
        self._drop_made_fields()

    def replace(self, labels: Sequence[OurLabel]) -> None:
        """Have these labels in place of the automatic ones."""
        wanted = {label.name for label in labels}
        is_decision = any(label.is_confirmed for label in labels)
        leaving = []
        for name, note in [*self.notes.items()]:
            if name in wanted or note.owner == "removed" or note.is_confirmed:
                continue
            leaving.append(note)
            if is_decision and note.owner == "ours":
                self.notes[name] = replace(note, owner="removed", fields=frozenset())
            else:
                del self.notes[name]
        self._take_out(leaving)
        theirs = set().union(*(self._foreign_words(field) for field in self._standing()))
        for label in labels:
            self._note(label, _word(label.name) in theirs)
        has_paths = any(
            note.owner == "ours" and len(label_parts(note.name)) > 1 for note in self.notes.values()
        )
        flat = (SUBJECT, *self.beside)
        asked = (*flat, *HIERARCHIES) if has_paths else flat
        self._begin(asked if self.beside else asked[1:])
        for field in self.fields:
            if field in asked or field.stands(self.packet):
                self._put(field)
        self._drop_made_fields()

    def _note(self, label: OurLabel, is_theirs: bool) -> None:
        old = self.notes.get(label.name)
        is_decided = old is not None and (old.owner == "removed" or old.is_confirmed)
        if is_decided and not label.is_confirmed:
            return  # a person's word is the last
        if old is None or old.owner == "removed":
            origin = {} if old is None else old.origin
            old = Note(label.name, "theirs" if is_theirs else "ours", origin=origin)
        self.notes[label.name] = old.now(label)

    def _put(self, field: KeywordField) -> None:
        """Write those labels into a field whose word is missing there."""
        claimed, foreign = self._claimed(field), self._foreign_words(field)
        keys = {_keys(field.parts(entry)) for entry in field.entries(self.packet)}
        new = []
        for name, note in self.notes.items():
            if note.owner == "removed" or field.name in note.fields or _word(name) in foreign:
                continue
            entry = field.entry(label_parts(name))
            key = _keys(field.parts(entry))
            if entry not in claimed:
                if key in keys:
                    continue  # another of our labels, in another case
                keys.add(key)
                claimed.add(entry)
                new.append(entry)
            # else it stands for another label too, with the same last part
            self.notes[name] = replace(note, fields=note.fields | {field.name})
        if new:
            if not field.stands(self.packet):
                self.made |= {field.name}
            field.add(self.packet, new)
            self.is_touched = True

    def _begin(self, asked: Sequence[KeywordField]) -> None:
        """Make those of the fields asked for that are missing where there are keywords of others,
        which whoever takes the first field would no longer see."""
        theirs = [
            field.parts(entry)
            for field in self._standing()
            for entry in self._foreign_entries(field)
        ]
        seeds: dict[tuple[str, ...], tuple[str, ...]] = {}
        words: set[str] = set()
        for parts in sorted(theirs, key=lambda one: len(one) == 1):
            keys = _keys(parts)
            if len(parts) > 1 or keys[0] not in words:
                seeds.setdefault(keys, parts)
                words.update(keys)
        for made in asked:
            if seeds and not made.stands(self.packet):
                entries = map(made.entry, seeds.values())
                alike = {_keys(made.parts(entry)): entry for entry in entries}  # each once
                made.add(self.packet, [*alike.values()])
                self.made |= {made.name}
                self.is_touched = True

    def _drop_made_fields(self) -> None:
        """Take out the fields that we made and that hold nothing but copies."""
        standing = {field.name: field for field in self._standing()}
        kept = {
            _keys(field.parts(entry))
            for name, field in standing.items()
            if name not in self.made
            for entry in field.entries(self.packet)
        }
        needed = {name for note in self.notes.values() for name in note.fields}
        for name in (self.made & standing.keys()) - needed:
            field = standing[name]
            if kept.issuperset(_keys(field.parts(one)) for one in field.entries(self.packet)):
                field.delete(self.packet)
                del standing[name]
                self.is_touched = True
        self.made &= standing.keys()

    def _standing(self) -> list[KeywordField]:
        return [field for field in self.fields if field.stands(self.packet)]

    def _words(self, field: KeywordField) -> list[str]:
        """The last parts of all entries."""
        return sorted(word_key(field.parts(one)[-1]) for one in field.entries(self.packet))

    def _claimed(self, field: KeywordField) -> set[str]:
        """The entries that stand in a field because of us, each once."""
        names = [note.name for note in self.notes.values() if field.name in note.fields]
        return {field.entry(label_parts(name)) for name in names}

    def _foreign_entries(self, field: KeywordField) -> list[str]:
        """All others, in their order."""
        claimed, foreign = self._claimed(field), []
        for entry in field.entries(self.packet):
            if entry in claimed:
                claimed.remove(entry)
            else:
                foreign.append(entry)
        return foreign

    def _foreign_words(self, field: KeywordField) -> set[str]:
        return {word_key(field.parts(entry)[-1]) for entry in self._foreign_entries(field)}

    def _take_out(self, leaving: Iterable[Note]) -> None:
        """Take out the words of labels, where they stand for no other label too."""
        leaving = [*leaving]
        for field in self._standing():
            names = [note.name for note in leaving if field.name in note.fields]
            entries = {field.entry(label_parts(name)) for name in names} - self._claimed(field)
            if entries:
                field.remove(self.packet, entries)
                self.is_touched = True


def _word(name: str) -> str:
    return word_key(label_parts(name)[-1])


def _keys(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(word_key, parts))
