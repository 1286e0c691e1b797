"""Targets that are only observed: what would be written is told, and every byte of theirs stays as it is."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest

from consumers.moodle.connector import MoodleConnector
from pipeline.target import OBSERVED_ONLY, Done, HandlerOutcome, Task, Waiting
from sandbox.demo.sweep_directory import search
from sandbox.moodle import MoodleStandIn
from sandbox.slapd import Slapd
from schemas.account import Hold
from sesame.app.handlers import GuardedHandler
from sesame.testing.servers import directory_kit, moodle_kit
from sesame.testing.servers.mailbox_kit import DovecotHarness
from sesame.testing.servers.moodle_kit import Handlers, Operator, connector_on, settings_for
from sesame.testing.servers.post_office import PostOffice


def differing(outcome: HandlerOutcome) -> set[str]:
    """What would be written, as an outcome that promises nothing says it."""
    assert isinstance(outcome, Waiting)
    assert outcome.reason == OBSERVED_ONLY
    return set(outcome.pending)


def entries(slapd: Slapd) -> str:
    """The whole directory, with the attributes that the server keeps itself."""
    return search(slapd, slapd.base_dn, "(objectClass=*)", "*", "+")


# --- the directory ------------------------------------------------------------------------------------


@pytest.fixture
def watching(own_slapd: Slapd) -> Iterator[GuardedHandler]:
    client = directory_kit.client_of(own_slapd, read_only=True)
    observer = GuardedHandler(directory_kit.directory_of(own_slapd, client).handler(), observed=True)
    yield observer
    observer.close()


def test_an_observed_directory_says_what_would_be_written_and_stays_byte_equal(
    own_slapd: Slapd, watching: GuardedHandler
) -> None:
    consumer = directory_kit.Consumer(own_slapd)
    zoe, newcomer = directory_kit.account(), directory_kit.account()
    assert isinstance(consumer.bring(zoe), Done)
    moved = zoe.model_copy(update={"version": 2, "entities": ("DRO",), "holds": frozenset({Hold.SUSPENDED})})
    before = entries(own_slapd)

    watching.probe()
    outcomes = watching.handle([Task(moved), Task(newcomer)])

    assert entries(own_slapd) == before
    assert differing(outcomes[newcomer.student_number]) >= {"object", "sn", "mail"}
    assert differing(outcomes[zoe.student_number]) == {
        *("sesameVersion", "supannEntiteAffectation", "supannEntiteAffectationPrincipale", "sesameHold"),
        *("sesameMailEnabled", "supannRessourceEtat", "supannRessourceEtatDate", "access"),
    }
    assert differing(watching.handle([Task(zoe)])[zoe.student_number]) == set()
    assert isinstance(consumer.bring(moved), Done)  # switched to write: the very same account is brought over
    assert differing(watching.handle([Task(moved)])[zoe.student_number]) == set()
    consumer.directory.disconnect()


# --- Moodle -------------------------------------------------------------------------------------------


def rows(moodle: MoodleStandIn) -> list[str]:
    """Every row of the site's database."""
    with closing(sqlite3.connect(f"file:{moodle.data_file}?mode=ro", uri=True)) as db:
        return list(db.iterdump())


def observing(moodle: MoodleStandIn) -> MoodleConnector:
    return connector_on(settings_for(moodle, mode="observe"))


def watched(moodle: MoodleStandIn) -> GuardedHandler:
    return GuardedHandler(observing(moodle).handler(), observed=True)


def test_an_observed_moodle_says_what_would_be_written_and_stays_byte_equal(
    moodle: MoodleStandIn, handlers: Handlers
) -> None:
    here = moodle_kit.account("22600001", moodle_kit.cohort("L1INFO"))
    assert isinstance(moodle_kit.handle_one(handlers(), here), Done)
    Operator(moodle).create_user("somebody", idnumber="22600003")
    moved = here.model_copy(
        update={
            "version": 2,
            "mail": "elodie@etu.univ-exemple.fr",
            "cohorts": (moodle_kit.cohort("L2INFO"),),
        }
    )
    newcomer = moodle_kit.account("22600002", moodle_kit.cohort("L1INFO"))
    other = moodle_kit.account("22600003")
    before, wrote = rows(moodle), moodle_kit.writes(moodle)

    observer = watched(moodle)
    observer.probe()
    outcomes = observer.handle([Task(each) for each in (moved, newcomer, other)])

    assert (rows(moodle), moodle_kit.writes(moodle)) == (before, wrote)
    assert differing(outcomes["22600001"]) == {"email", "cohorts"}
    new = {"object", "idnumber", "username", "auth", "firstname", "lastname", "email", "cohorts"}
    assert differing(outcomes["22600002"]) == new
    assert differing(outcomes["22600003"]) == {"username", "firstname", "lastname", "email"}
    assert isinstance(moodle_kit.handle_one(handlers(), moved), Done)
    observer.close()
    after = watched(moodle)
    assert differing(after.handle([Task(moved)])["22600001"]) == set()
    after.close()


# --- the mailbox --------------------------------------------------------------------------------------


def files(office: PostOffice) -> Mapping[str, str]:
    """Every file of every mailbox: messages, folders, subscriptions, scripts. The server's own indexes, which
    it keeps when anybody looks, are left out."""
    root = office.dovecot.folder / "mail"
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith("dovecot")
    }


def test_an_observed_mail_server_says_what_would_be_written_and_stays_byte_equal(
    desk: DovecotHarness,
) -> None:
    zoe, noe, mia = desk.student("zoe.lefevre"), desk.student("noe.garnier"), desk.student("mia.petit")
    absent = desk.student("lea.roy", enabled=False)
    desk.provision(zoe)
    desk.office.messages(noe.mail)  # a mailbox that was used before, and has none of our folders
    changed = zoe.now(mail_redirect="zoe@ailleurs.example")
    observer = GuardedHandler(desk.handler(read_only=True), observed=True)
    before = files(desk.office)

    observer.probe()
    everybody = [changed, noe.account, mia.account, absent.account]
    outcomes = observer.handle([Task(each) for each in everybody])

    assert files(desk.office) == before
    assert before
    assert differing(outcomes[zoe.number]) == {"redirect"}
    assert differing(outcomes[noe.number]) == differing(outcomes[mia.number]) == {"folders", "welcome"}
    assert differing(outcomes[absent.number]) == {"refused: mailbox_not_enabled"}
    assert desk.welcomes(noe) == 0
    assert [type(each) for each in desk.provision(zoe, noe)] == [Done, Done]
    observer.close()
