"""Pégase's live flow, against the stand-in for its APIs: what is published, whatever happens on the way."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.db.database import Database
from producers.registrar import polls
from producers.registrar.pegase.client import PegaseClient, PegaseDown, PegaseRefuses
from producers.registrar.pegase.passes import PAGE_ROWS, read_groups, read_pass
from sandbox.pegase import Pegase, composition, inscription
from sesame.acts.acts import Actor, Role
from sesame.operations.imports import past
from sesame.operations.imports.polls import GROUPS_EVERY_S, FeedPollReport, FeedPollRequest, LiveFeed
from sesame.settings import Settings
from sesame.testing.servers.registrar_kit import MAMADOU, ZOE, RecordedLog

OFFICE = Actor("scolarite", frozenset({Role.REGISTRAR, Role.OPERATOR}))
Event = dict[str, Any]
TOLD = {"type", "usage_name", "administrative"}
"""Fields of an event that the hours of faults change."""


@dataclass
class Site:
    """A registrar's site that is fed by Pégase, and what it has published."""

    settings: Settings
    database: Database
    producer: RecordedLog = field(default_factory=RecordedLog)
    privacy_if_any: None = None
    now: datetime = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)

    def __post_init__(self) -> None:
        self.feed = self.new_feed()

    def new_feed(self) -> LiveFeed:
        """A feed of a process that has just been started."""
        return LiveFeed(self, clock=lambda: self.now)

    def poll(self, **request: Any) -> FeedPollReport:
        self.now += timedelta(seconds=30)
        return self.feed.poll(OFFICE, FeedPollRequest(**request))

    def published(self) -> list[Event]:
        """What was published since the last look, as type and data, read without our own reader."""
        records, self.producer.records = self.producer.records, []
        return [
            {"type": dict(each.headers)["ce_type"].decode(), **json.loads(each.value)} for each in records
        ]


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    with closing(Database(store_url)) as database:
        yield database


@pytest.fixture
def site(pegase: Pegase, database: Database, tmp_path: Path) -> Site:
    given = {"url_file": pegase.url_file, "periods": {"ETAB00": ["PER-2026", "PER-2026-S2"]}}
    return Site(Settings(data_dir=tmp_path, pegase=given), database)


def row(line: dict[str, str] = ZOE, *, ago: int = 60, **changes: Any) -> dict[str, Any]:
    """An enrolment that was modified so many seconds ago."""
    moment = int(time.time()) - ago
    made = {**inscription(line | {"DATE_NAI_IND": "07/03/2008"}), **changes}
    return {**made, "derniereModification": moment, "derniereModificationApprenant": moment}


def many(students: int, *, ago: int = 60, **changes: Any) -> list[dict[str, Any]]:
    """So many students, no two of one name."""
    names = ["".join(chr(97 + int(digit)) for digit in f"{number:05}") for number in range(students)]
    return [
        row(
            ZOE
            | {"COD_ETU": f"226{number:05}", "COD_NNE_IND": "", "MAIL_PERSO": "", "LIB_NOM_PAT_IND": name},
            ago=ago,
            **changes,
        )
        for number, name in enumerate(names)
    ]


def numbers(events: Sequence[Event]) -> list[str]:
    return [each["student_number"] for each in events]


def test_each_enrolment_is_published_once_with_all_that_the_flow_tells(pegase: Pegase, site: Site) -> None:
    path = [{"code": "L1-INFO", "libelleLong": "Licence"}, {"code": "PARC-A", "libelleLong": "Parcours A"}]
    phones = [
        {"telephone": "01 23 45 67 89", "proprietaire": "sa mère"},
        {"telephone": "pas de numéro"},
        {"telephone": "06 12 34 56 78"},
    ]
    second = row(ZOE | {"COD_ETP": "L2MATH"}, inscriptionPrincipale=False, telephones=phones)
    like = row(MAMADOU | {"LIB_NOM_PAT_IND": "LEFÈVRE D'ORMESSON", "LIB_PR1_IND": "ZOÉ"})
    pegase.put([row(chemin=path, telephones=phones), second, like])

    assert site.poll().imported == 3
    events = site.published()
    zoe = next(each for each in events if each["step"] == "L1INFO" and each["student_number"] == "22600017")
    assert zoe["type"] == "fr.sesame.enrolment.recorded.v1"
    assert (zoe["birth_name"], zoe["given_name"], zoe.get("usage_name")) == (
        "Lefèvre d'Ormesson",
        "Zoé",
        None,
    )
    assert (zoe["birth_date"], zoe["ine"]) == ("2008-03-07", "060904317KT")
    assert (zoe["personal_mail"], zoe["mobile"]) == ("zoe.lefevre@example.org", "+33612345678")
    assert (zoe["year"], zoe["step_version"], zoe["step_label"]) == (2026, "L1-INFO/PARC-A", "Parcours A")
    assert (zoe["component"], zoe["administrative"], zoe["pedagogical"]) == ("SCI", "in_force", "validated")
    assert {each["step"]: each["primary"] for each in events if each["student_number"] == "22600017"} == {
        "L1INFO": True,
        "L2MATH": False,
    }
    assert sorted(numbers(events)) == ["22600017", "22600017", "22600018"]

    again = site.poll()
    assert (again.read, again.imported, site.published()) == (3, 0, [])
    site.feed = site.new_feed()
    assert (site.poll().imported, site.published()) == (0, []), "a process that was started anew"


def test_a_cancellation_comes_by_the_flow_and_a_change_of_name_too(pegase: Pegase, site: Site) -> None:
    pegase.put(many(8))
    site.poll()
    site.published()
    pegase.put([many(8, ago=40, statutInscription="annulee")[3], many(8, ago=40, nomUsage="Durand")[5]])
    assert site.poll().imported == 2
    by_type = {each["type"].split(".")[3]: each for each in site.published()}
    assert by_type["cancelled"]["student_number"] == "22600003"
    assert (by_type["recorded"]["student_number"], by_type["recorded"]["usage_name"]) == (
        "22600005",
        "Durand",
    )


@pytest.mark.parametrize("ahead_s", [-7200.0, 7200.0])
def test_the_window_is_that_of_pegases_clock(pegase: Pegase, site: Site, ahead_s: float) -> None:
    pegase.set(ahead_s=ahead_s)
    for number, each in enumerate(many(3)):
        del each["derniereModification"], each["derniereModificationApprenant"]
        pegase.put([each])
        imported: list[int] = []
        while not any(imported) and len(imported) < 5:  # our idea of that clock is late by a slow answer
            time.sleep(1.1)
            imported.append(site.poll().imported)
        assert sum(imported) == 1, number
    assert numbers(site.published()) == ["22600000", "22600001", "22600002"]


def test_a_row_that_moves_between_two_pages_hides_no_other(pegase: Pegase, site: Site) -> None:
    pegase.put(many(2 * PAGE_ROWS + 100))
    pegase.fault(page=0, touch=["22600000"])
    site.poll()
    everybody = [f"226{number:05}" for number in range(2 * PAGE_ROWS + 100)]
    seen = numbers(site.published())
    assert sorted({"22600000", *seen}) == everybody, "but for the one that has left the window"
    time.sleep(1.1)
    site.poll()
    assert sorted(seen + numbers(site.published())) == everybody


def test_pages_that_contradict_one_another_are_read_again(pegase: Pegase, site: Site) -> None:
    pegase.put(many(3 * PAGE_ROWS))
    pegase.fault(page=1, skip=1)
    assert site.poll().imported == 3 * PAGE_ROWS
    pegase.put(many(3 * PAGE_ROWS + 1, ago=40)[-1:])
    pegase.fault(page=0, skip=1, calls=3)
    with pytest.raises(PegaseDown, match="pages"):
        site.poll()
    assert site.poll().imported == 1, "the window that was not read to its end"


def test_pages_may_be_smaller_than_asked(pegase: Pegase, site: Site) -> None:
    pegase.set(page_max=20)
    pegase.put(many(50))
    assert site.poll().imported == 50
    assert [call["query"].split("&")[0] for call in pegase.calls()[-5:-2]] == ["page=0", "page=1", "page=2"]


def test_of_two_enrolments_in_one_step_the_last_modified_counts(pegase: Pegase, site: Site) -> None:
    before = {"dateInscription": "2026-07-01T00:00:00", "statutInscription": "annulee"}
    pegase.put([*many(1, ago=40), *many(1, ago=50, **before)])
    site.poll()
    assert [each["type"].split(".")[3] for each in site.published()] == ["recorded"]


def test_a_look_at_the_last_minute_does_not_end_the_window(pegase: Pegase, site: Site) -> None:
    site.poll()
    pegase.put(many(1, ago=60))
    assert site.poll(since=time.time() - 10).read == 0
    with site.database.write() as connection:
        moved = polls.feed_polls.update().values(through=int(time.time()) - 300)
        connection.execute(moved)
    pegase.put(many(2, ago=200)[1:])
    site.poll(since=time.time() - 100)
    with site.database.read() as connection:
        [found] = polls.all_polls(connection)
    assert found.through < time.time() - 200, "what came between is still to be read"
    assert site.poll().read == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"html": True}, "text/html"),
        ({"status": 503}, "503"),
        ({"status": 500}, "500"),
        ({"status": 429}, "429"),
        ({"hang_up": True}, "no answer"),
    ],
)
def test_a_pegase_that_is_away_is_named_and_nothing_is_lost(
    pegase: Pegase, site: Site, fault: dict[str, Any], said: str
) -> None:
    pegase.put(many(2))
    pegase.fault(**fault)
    assert site.poll().imported == 2, "once: it is asked again"
    pegase.put(many(3, ago=40)[2:])
    pegase.fault(calls=3, **fault)
    with pytest.raises(PegaseDown, match=said):
        site.poll()
    assert site.poll().imported == 1
    assert sorted(numbers(site.published())) == ["22600000", "22600001", "22600002"]


def test_both_forms_of_the_token_and_its_end(pegase: Pegase, site: Site) -> None:
    pegase.put(many(1))
    pegase.set(token_in="query")
    assert site.poll().imported == 1
    pegase.give_groups([composition("UE1", "Unité", {"TD1": ["22600000"]})])
    pegase.set(token_s=0.5)
    with closing(PegaseClient(site.settings.pegase.instance)) as client:
        for _ in range(2):  # an expired token is 401 of `ins` and 403 of `chc`
            time.sleep(0.6)
            assert len(read_groups(client, "ETAB00", "PER-2026")) == 1
            time.sleep(0.6)
            assert len(read_pass(client, 0).enrolments) == 1


def test_a_wrong_password_and_missing_rights_are_told_without_the_password(
    pegase: Pegase, site: Site, tmp_path: Path
) -> None:
    pegase.put(many(1))
    pegase.set(rights=["ins"])
    with pytest.raises(PegaseRefuses, match="chc answers 403"):
        site.poll()
    assert numbers(site.published()) == ["22600000"], "enrolments come all the same"
    wrong = tmp_path / "wrong"
    wrong.write_text(pegase.url_file.read_text().replace("@", "x@"))
    wrong.chmod(0o600)
    settings = Settings(data_dir=tmp_path, pegase={"url_file": wrong})
    with pytest.raises(PegaseRefuses, match="svc-sesame no token") as refused:
        Site(settings, site.database).poll()
    assert wrong.read_text().split(":")[2].split("@")[0] not in str(refused.value) + refused.value.remedy


def test_a_reader_of_tomorrows_contract(pegase: Pegase, site: Site) -> None:
    pegase.put(many(2))
    pegase.set(rewrite={"anneeUniversitaire": "2026", "mels": {}, "UAIStructurePrincipale": None, "vague": 3})
    report = site.poll()
    assert report.imported == 2
    assert report.differences == {
        "anneeUniversitaire is str, not int": 2,
        "mels is dict, not list": 2,
        "no field UAIStructurePrincipale": 2,
        "new field vague": 2,
    }
    assert {(each["year"], each["component"]) for each in site.published()} == {(2026, "0751717J")}


def test_an_unknown_status_opens_nothing_and_closes_nothing(pegase: Pegase, site: Site) -> None:
    pegase.put(many(1))
    site.poll()
    site.published()
    pegase.put(many(2, ago=40, statutInscription="suspendue"))
    pegase.put(many(1, ago=40, formation="L2MATH"))
    report = site.poll()
    assert report.differences == {"unknown statutInscription suspendue": 2}
    assert sorted(
        (each["student_number"], each["step"], each["administrative"]) for each in site.published()
    ) == [
        ("22600000", "L2MATH", "in_force"),
        ("22600001", "L1INFO", "pending"),
    ]
    pegase.put(many(1, ago=30, formation="L2MATH", nomUsage="Durand"))
    pegase.put(many(1, ago=30, statutInscription="suspendue"))
    assert site.poll().imported == 1, "the other step of the same student"


def test_a_stale_copy_undoes_nothing(pegase: Pegase, site: Site) -> None:
    pegase.put(many(4, ago=60))
    pegase.put(many(4, ago=40, statutInscription="annulee")[:1])
    site.poll()
    assert sorted(each["type"].split(".")[3] for each in site.published()) == ["cancelled", *["recorded"] * 3]
    pegase.fault(stale_s=50.0)
    assert (site.poll().imported, site.published()) == (0, [])


def test_one_bad_row_is_refused_and_the_others_go_on(pegase: Pegase, site: Site) -> None:
    rows = many(3)
    rows[1]["dateDeNaissance"] = "demain"
    pegase.put(rows)
    report = site.poll()
    assert (report.imported, report.rejected) == (2, 1)
    assert numbers(site.published()) == ["22600000", "22600002"]
    assert site.poll().rejected == 0, "it is told once"


def test_cancellations_of_many_wait_for_an_operator_and_nobody_waits_behind_them(
    pegase: Pegase, site: Site
) -> None:
    pegase.put(many(100))
    site.poll()
    site.published()
    pegase.put(many(60, ago=40, statutInscription="annulee"))
    pegase.put(many(101, ago=40)[100:])
    before = window_end(site)
    report = site.poll()
    assert (report.imported, report.held, numbers(site.published())) == (1, 60, ["22600100"])
    held = imports_of(site)
    pegase.put(many(102, ago=30)[101:])
    report = site.poll()
    assert (report.imported, report.held, numbers(site.published())) == (1, 60, ["22600101"])
    assert imports_of(site) - held == 1, "what is held is not imported at each poll"

    pegase.put(many(1, ago=20))
    report = site.poll()
    assert (report.imported, report.held) == (0, 59), "one is not cancelled any more"
    pegase.put(many(1, ago=15, statutInscription="annulee"))
    site.feed = site.new_feed()
    assert site.poll().held == 60, "nor forgotten by a new process"
    assert window_end(site) == before, "it stays, so that a crash loses nothing"
    past.approve(site, OFFICE, held_import(site))
    assert site.poll().held == 0
    cancelled = site.published()
    assert sorted(numbers(cancelled)) == [f"226{number:05}" for number in range(60)]
    assert {each["type"] for each in cancelled} == {"fr.sesame.enrolment.cancelled.v1"}
    assert (site.poll().imported, site.published()) == (0, [])


def test_what_is_held_is_approved_by_the_command_too(pegase: Pegase, site: Site) -> None:
    pegase.put(many(20))
    site.poll()
    pegase.put(many(15, ago=40, statutInscription="annulee"))
    loop, report = site.feed, site.poll()
    site.published()
    site.feed = site.new_feed()
    assert (site.poll(approve=report.approval).held, len(site.published())) == (0, 15)
    site.feed = loop
    assert (site.poll().held, site.published()) == (0, []), "the running process learns of it"


def test_groups_feed_teachings_whole_and_an_empty_answer_takes_nothing_away(
    pegase: Pegase, site: Site
) -> None:
    def groups(**units: dict[str, list[str]]) -> None:
        pegase.give_groups([composition(unit, f"Unité {unit}", several) for unit, several in units.items()])

    pegase.put(many(3))
    groups(UE1={"TD1": ["22600000", "22600001"], "TD2": ["22600002"]}, UE2={"G": ["22600000"]})
    closed = composition("UE1", "Unité UE1", {"TD3": ["22600000"]})
    closed["groupes"][0]["estActif"] = False
    over = composition("UE3", "Unité UE3", {"G": ["22600000"]}) | {"estActive": False}
    pegase.give_groups([closed, over], "ETAB00/PER-2026-S2")
    assert site.poll().groups == 4
    told = {
        each["student_number"]: [(one["element"], one["group"]) for one in each["teachings"]]
        for each in site.published()
        if "teachings" in each
    }
    assert told == {
        "22600000": [("UE1", "TD1"), ("UE2", "G")],
        "22600001": [("UE1", "TD1")],
        "22600002": [("UE1", "TD2")],
    }
    assert site.poll().groups == 0, "not due"
    groups(UE1={"TD1": ["22600000"], "TD2": ["22600001", "22600002"]}, UE2={"G": ["22600000"]})
    site.now += timedelta(seconds=GROUPS_EVERY_S)
    site.poll()
    assert numbers(site.published()) == ["22600001"]
    groups()
    site.now += timedelta(seconds=GROUPS_EVERY_S)
    pegase.put(many(4, ago=40)[3:])
    with pytest.raises(PegaseDown, match="no groups of PER-2026 any more"):
        site.poll()
    assert numbers(site.published()) == ["22600003"], "enrolments come all the same"


def test_groups_that_the_guard_holds_come_once_they_are_approved(pegase: Pegase, site: Site) -> None:
    numbers_of = [f"226{number:05}" for number in range(40)]
    pegase.put(many(40))
    pegase.give_groups([composition("UE1", "Unité", {"TD1": numbers_of})])
    site.poll()
    site.published()
    pegase.give_groups([composition("UE1", "Unité", {"TD1": numbers_of[:5]})])
    site.now += timedelta(seconds=GROUPS_EVERY_S)
    assert (site.poll().groups, site.published()) == (0, [])
    past.approve(site, OFFICE, held_import(site))
    site.now += timedelta(seconds=GROUPS_EVERY_S)
    assert site.poll().groups == 5
    assert sorted(numbers(site.published())) == numbers_of[5:]


FAULTS: tuple[dict[str, Any], ...] = (
    {"html": True, "calls": 3},
    {"status": 503, "calls": 2},
    {"hang_up": True, "calls": 3},
    {"skip": 1},
    {"touch": ["22600001", "22600002"]},
    {"stale_s": 100.0},
)


class Registry:
    """Hours at a registrar's, by a seed: changes, and what the flow must have told in the end."""

    def __init__(self, pegase: Pegase, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 (a history)
        self.wanted = {each["codeApprenant"]: each for each in many(300)}
        self.changed: set[str] = set()
        self._newcomers = iter(many(500)[300:])
        self._pegase = pegase
        self._ahead_s = 0.0
        pegase.put(self.wanted.values())

    def half_a_minute(self, changes: int) -> None:
        """Let time pass, and so many students be enrolled, renamed, cancelled or taken back."""
        self._ahead_s += 30
        self._pegase.set(ahead_s=self._ahead_s)
        for _ in range(changes):
            row = self.chance.choice(
                [next(self._newcomers), *self.chance.sample(list(self.wanted.values()), 3)]
            )
            made = {name: value for name, value in row.items() if not name.startswith("derniereModification")}
            made["nomUsage"] = f"Nom {self.chance.choice('ABCDEFGH')}"
            made["statutInscription"] = "annulee" if self.chance.random() < 0.1 else "valide"
            self.wanted[row["codeApprenant"]] = made
            self.changed.add(row["codeApprenant"])
            self._pegase.put([made])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hours_of_changes_and_faults_lose_nothing_and_say_nothing_twice(
    pegase: Pegase, site: Site, seed: int
) -> None:
    office = Registry(pegase, seed)
    site.poll()
    site.published()
    said: dict[str, list[Event]] = defaultdict(list)
    for turn in range(42):
        in_peace = turn >= 40
        office.half_a_minute(0 if in_peace else office.chance.randrange(4))
        if not in_peace and office.chance.random() < 0.3:
            pegase.fault(**office.chance.choice(FAULTS))
        if office.chance.random() < 0.1:
            site.feed = site.new_feed()
        with suppress(PegaseDown):
            site.poll()
        for each in site.published():
            said[each["student_number"]].append({name: each[name] for name in each.keys() & TOLD})

    assert len(office.changed) > 30
    for number in office.changed:
        row, last = office.wanted[number], said[number][-1]
        cancelled = row["statutInscription"] == "annulee"
        assert last["type"].split(".")[3] == ("cancelled" if cancelled else "recorded"), number
        assert cancelled or last["usage_name"] == row["nomUsage"], number
    assert all(one != other for events in said.values() for one, other in itertools.pairwise(events))
    assert said.keys() <= office.changed


def test_one_of_two_processes_reads_the_feed(database: Database) -> None:
    with database.write() as connection:
        assert polls.claim(connection, database, "pegase", "one")
        assert not polls.claim(connection, database, "pegase", "two")
        assert polls.claim(connection, database, "pegase", "one")
        connection.execute(polls.feed_polls.update().values(seen_at=database.now(connection) - 61))
        assert polls.claim(connection, database, "pegase", "two")
        assert not polls.claim(connection, database, "pegase", "one")
        polls.release(connection, "pegase", "one")
        assert not polls.claim(connection, database, "pegase", "one"), "it is not its own to release"
        polls.release(connection, "pegase", "two")
        assert polls.claim(connection, database, "pegase", "one")


def test_a_poll_never_goes_back(database: Database) -> None:
    with database.write() as connection:
        for through in (1_000, 900):
            polls.finish(connection, database, "pegase", through)
    with database.read() as connection:
        [found] = polls.all_polls(connection)
    assert found.through == 1_000


def window_end(site: Site) -> float | None:
    """When the last poll ended that moved the window."""
    with site.database.read() as connection:
        [found] = polls.all_polls(connection)
    return found.finished_at


def imports_of(site: Site) -> int:
    with site.database.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM imports").scalar_one())


def held_import(site: Site) -> int:
    with site.database.read() as connection:
        found = connection.exec_driver_sql("SELECT id, summary FROM imports WHERE summary IS NOT NULL")
        return max(int(each) for each, summary in found if json.loads(summary)["held"])


def test_the_state_of_an_ine_is_looked_up_where_the_site_mints_esis(
    pegase: Pegase, database: Database, tmp_path: Path
) -> None:
    given = {"url_file": pegase.url_file, "periods": {"ETAB00": ["PER-2026"]}}
    asks = {"federation": {"esi": True}}
    site = Site(Settings(data_dir=tmp_path, pegase=given, directory=asks), database)
    zoe, mamadou = row(), row(MAMADOU, INE="060904318ab")
    pegase.put([zoe, mamadou])
    pegase.set_ine_states({MAMADOU["COD_ETU"]: "A_VERIFIER"})
    site.poll()
    told = {each["student_number"]: each["ine_provisional"] for each in site.published()}
    assert told == {ZOE["COD_ETU"]: False, MAMADOU["COD_ETU"]: True}

    pegase.set_ine_states({MAMADOU["COD_ETU"]: "CONFIRME"})
    pegase.put([row(MAMADOU, ago=1, INE="060904318ab", nomUsage="Autre")])
    site.poll()
    assert [(each["student_number"], each["ine_provisional"]) for each in site.published()] == [
        (MAMADOU["COD_ETU"], False)
    ]
    pegase.fault(module="idt", calls=9, status=503)
    pegase.put([row(ago=1, nomUsage="Autre")])
    site.poll()
    [event] = site.published()
    assert "ine_provisional" not in event, "enrolments do not wait for it"


def test_the_states_of_many_are_read_page_by_page(pegase: Pegase, database: Database, tmp_path: Path) -> None:
    given = {"url_file": pegase.url_file, "periods": {"ETAB00": ["PER-2026"]}}
    site = Site(Settings(data_dir=tmp_path, pegase=given, directory={"federation": {"esi": True}}), database)
    rows = [each | {"INE": f"{index:09}AB"} for index, each in enumerate(many(45))]
    pegase.set(page_max=20)
    pegase.put(rows)
    pegase.set_ine_states({rows[44]["codeApprenant"]: "LITIGE"})
    site.poll()
    told = {each["student_number"]: each["ine_provisional"] for each in site.published()}
    assert {number for number, provisional in told.items() if provisional} == {rows[44]["codeApprenant"]}
    assert len(told) == 45
    assert len([call for call in pegase.calls() if call["module"] == "idt"]) == 3


def test_a_site_without_esis_asks_for_no_state(pegase: Pegase, site: Site) -> None:
    pegase.put([row()])
    site.poll()
    assert "ine_provisional" not in site.published()[0]
    assert not [call for call in pegase.calls() if call["module"] == "idt"]
