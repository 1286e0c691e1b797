"""A backup was made, then a person was erased: neither the backup nor its restore gives the person back."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from consumers.registry.identity_doubts import identity_doubts
from consumers.registry.people import people
from pipeline.audit import operator_notes
from pipeline.audit.verification import verify as verify_audit
from schemas import catalogue
from schemas.events import IdentityDecided, IdentityDecision
from sesame.acts import life
from sesame.acts.admission import Notes
from sesame.operations.keeping.backup import acts as backups
from sesame.operations.keeping.backup import copies
from sesame.operations.keeping.backup.acts import BackupRequest, RestoreRequest
from sesame.operations.privacy import acts, erasure
from sesame.testing.servers.registry_kit import enrolled
from sesame.testing.servers.waiting import until
from tests.integration.privacy.test_erasure import (
    DPO,
    LEA,
    OTHERWISE,
    PAUL,
    TRACES,
    YEAR,
    complete,
    enrol,
    erase,
    erased,
    live_through,
    login,
    traces,
)
from tests.integration.targets.site_kit import Site, running

TARGETS = ("directory", "mailbox", "moodle")


def opened(folder: Path) -> Site:
    return Site(folder, f"targets = {json.dumps(TARGETS)}\n", in_memory=TARGETS)


def back_up(site: Site) -> Path:
    request = BackupRequest(folder=site.settings.data_dir / "backups")
    made = backups.back_up(
        site, DPO, request, metadata=site.tables, clock=lambda: datetime.now(UTC), version="test"
    )
    return made.folder


def restore(site: Site, backup: Path) -> int:
    """Put it back, as if every target had been looked at since; return how many were left out."""
    request = RestoreRequest(folder=backup)
    done = backups.restore(site, DPO, request, clock=lambda: datetime.now(UTC), in_use=lambda _path: iter(()))
    if done.kept is not None:
        shutil.rmtree(done.kept)
    return done.restored.erased


def believe(site: Site) -> None:
    with site.database.write() as connection:
        beats = life.reopen(connection, site.database.now(connection), above=10_000)
        name = life.of(connection, site.database).name
    Notes.of(site).write(name, beats)


@pytest.fixture
def restored(tmp_path: Path) -> Iterator[tuple[Site, str]]:
    """A site that was backed up before Léa was erased, and put back after; with the login that was hers."""
    folder = tmp_path / "site"
    with closing(opened(folder)) as site, running(site):
        live_through(site)
        before = login(site)
        backup = back_up(site)
        for content in (each.read_bytes() for each in backup.iterdir()):
            assert not [trace for trace in TRACES if trace.encode() in content]
        erased(site, erase(site))
        assert traces(site) == [], "in no backup, and in no copy of the keys"
    with closing(opened(folder)) as site:
        assert restore(site, backup) == 1
    with closing(opened(folder)) as site:
        yield site, before


def test_the_erased_stay_erased_and_their_names_taken(restored: tuple[Site, str]) -> None:
    site, before = restored
    assert traces(site) == []
    assert verify_audit(site.database).breaks == []
    believe(site)
    with running(site):
        until(lambda: complete(site, PAUL), site.letters)
        site.say(enrolled("22607733", 1, year=YEAR, **OTHERWISE), catalogue.ENROLMENTS)
        until(lambda: login(site, "22607733") != "")
        assert login(site, "22607733") == f"{before}2"
        assert login(site, LEA) == ""
        assert site.letters() == []


def test_who_comes_back_after_it_has_the_names_of_before(restored: tuple[Site, str]) -> None:
    site, before = restored
    believe(site)
    with running(site):
        enrol(site, sequence=3)
        until(lambda: login(site) != "")
        assert login(site) == before
        assert site.letters() == []


# --- whatever was done, whoever is erased ---

PERSONS = (("22600001", "22600002"), ("22600003",), ("22600004", "22600005"))
"""Student numbers by person: of two who have two each."""
_NUMBERS = [number for person in PERSONS for number in person]
_TABLES = ("people", "identity_doubts", "remarks")
_IDENTITY = json.dumps({"birth_name": "X", "given_name": "Y", "birth_date": "2001-01-01"})
_PAIR = st.lists(st.sampled_from(_NUMBERS), min_size=2, max_size=2, unique=True)
_PERSON = st.sampled_from(range(len(PERSONS)))
_ACT = st.one_of(
    st.tuples(st.sampled_from(["decide", "doubt", "note"]), _PAIR),
    st.tuples(st.just("erase"), _PERSON),
    st.tuples(st.just("come"), _PERSON),
    st.tuples(st.just("back up"), st.none()),
)


@dataclass
class Life:
    """A site without targets on which persons come, are written about in pairs, and are erased."""

    site: Site
    here: set[int] = field(default_factory=set)
    backups: dict[Path, tuple[set[int], dict[str, list[tuple[Any, ...]]]]] = field(default_factory=dict)
    """Who was there, and the rows, at the moment of each; who was erased since is taken from the former."""
    erased_since: dict[Path, set[int]] = field(default_factory=dict)
    done: int = 0

    def act(self, what: str, given: Any) -> None:
        self.done += 1
        if what == "come" and given not in self.here:
            self._come(given)
        elif what == "erase" and given in self.here:
            self._erase(given)
        elif what == "back up":
            made = back_up(self.site)
            self.backups[made] = (set(self.here), self._rows())
            self.erased_since[made] = set()
        elif what in ("decide", "doubt", "note") and {_whose(each) for each in given} <= self.here:
            self._write(what, *given)

    def _come(self, person: int) -> None:
        first, *others = PERSONS[person]
        with self.site.database.write() as connection:
            for number in (first, *others):
                merged = None if number == first else first
                values = {"student_number": number, "merged_into": merged, "identity_sequence": 1}
                connection.execute(insert(people).values(identity=_IDENTITY, **values))
        self.here.add(person)

    def _erase(self, person: int) -> None:
        topics = self.site.registry.topics
        with closing(self.site.log.consumer("registry", topics, member="test")) as registry:
            ends = [self.site.log.end_offsets(topic) for topic in topics]
            registry.poll(0, 0.0)
            registry.commit(
                {tp: end for each in ends for tp, end in each.items()}
            )  # nobody waits for it here
        begun = erase(self.site, PERSONS[person][-1])
        while acts.standing(self.site, DPO, begun.id).ended_at is None:
            erasure.advance(self.site, retention=False)
        self.here.remove(person)
        for made, (there, _rows) in self.backups.items():
            if person in there:
                self.erased_since[made].add(person)

    def _write(self, what: str, one: str, other: str) -> None:
        if what == "decide":
            said = IdentityDecided(student_number=one, decision=IdentityDecision.SEPARATE, other=other)
            self.site.say(said, catalogue.ENROLMENTS, tell_apart=str(self.done))
            return
        with self.site.database.write() as connection:
            if what == "doubt":
                doubt = {"id": str(self.done), "evidence": "ine", "state": "separate", "raised_at": 1.0}
                named = {"student_number": one, "other_number": other}
                connection.execute(insert(identity_doubts).values(doubt | named))
            else:
                words = {"action": "x", "about": one, "actor": "c", "words": f"as {other} was"}
                operator_notes.keep(connection, self.site.database, student_number=one, **words)

    def _rows(self) -> dict[str, list[tuple[Any, ...]]]:
        data = self.site.settings.data_dir
        return rows_in(data / "sesame.db", *_TABLES) | rows_in(data / "events.db", "records")

    def look(self, made: Path) -> None:
        """A backup verifies, and has everything of those who were not erased since, and nothing of others."""
        gone = self.erased_since[made]
        verified = backups.verify(self.site, DPO, RestoreRequest(folder=made))
        assert verified.erased == len(gone), "persons, whatever their numbers"
        data, keys = self.site.settings.data_dir, backups.person_keys(self.site)
        with copies.opened(made, keys=keys, scratch=data) as found:
            after = rows_in(found.folder / "sesame.db", *_TABLES)
            after |= rows_in(found.folder / "events.db", "records")
            content = b"".join((found.folder / each).read_bytes() for each in ("sesame.db", "events.db"))
        named = [number for person in gone for number in PERSONS[person]]
        assert [each for each in named if each.encode() in content] == []
        _there, before = self.backups[made]
        for table, rows in before.items():
            stay = [row for row in rows if not any(number in repr(row) for number in named)]
            assert [row for row in after[table] if row in rows] == stay, table
        assert [row[0] for row in after["records"]] == [row[0] for row in before["records"]], "offsets hold"


def _whose(number: str) -> int:
    return next(at for at, person in enumerate(PERSONS) if number in person)


def rows_in(path: Path, *tables: str) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(path)) as db:
        return {each: sorted(db.execute(f"SELECT * FROM {each}"), key=repr) for each in tables}  # noqa: S608


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # each history takes seconds: none is made smaller
    suppress_health_check=[HealthCheck.too_slow],
)
@given(done=st.lists(_ACT, min_size=4, max_size=14), last=_PERSON)
def test_after_any_erasure_every_backup_kept_still_verifies_and_restores(
    tmp_path_factory: pytest.TempPathFactory, done: list[tuple[str, Any]], last: int
) -> None:
    folder = tmp_path_factory.mktemp("life") / "site"
    with closing(Site(folder)) as site:
        life = Life(site)
        for person in range(len(PERSONS)):
            life.act("come", person)
        life.act("decide", ["22600002", "22600003"])
        for what, given in (*done, ("back up", None), ("erase", last)):
            life.act(what, given)
        for made in life.backups:
            life.look(made)
        newest = list(life.backups)[-1]
        expected = len(life.erased_since[newest])
    with closing(Site(folder)) as site:
        assert restore(site, newest) == expected
    with closing(Site(folder)) as site:
        for made in life.backups:
            backups.verify(site, DPO, RestoreRequest(folder=made))
