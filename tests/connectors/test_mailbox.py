"""The mailbox passes the connectors' suite, on a Dovecot whose users are in a slapd."""

from __future__ import annotations

import imaplib
from collections.abc import Callable, Iterator, Sequence

import pytest

from consumers.kit.connector import SiteFacts
from consumers.mailbox.connector import MailboxConnector
from pipeline.db.database import Database
from pipeline.target import Done, Handler, HandlerOutcome, Task, Waiting
from schemas.account import Account, Stage
from sesame.testing.connector.bench import ConnectorBench, Skipped
from sesame.testing.connector.checks import CHECKS
from sesame.testing.connector.suite import *
from sesame.testing.servers.mailbox_kit import LETTERHEAD
from sesame.testing.servers.post_office import PostOffice
from sesame.testing.servers.stores import sqlite_store

Leader = Callable[[Sequence[Account]], None]


@pytest.fixture(scope="module")
def office() -> Iterator[PostOffice]:
    with PostOffice() as office:
        yield office


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(sqlite_store(tmp_path_factory.mktemp("store")))
    yield database
    database.close()


@pytest.fixture(scope="module")
def leader(office: PostOffice) -> Leader:
    """The directory consumer's part: whom Dovecot finds."""
    enabled: dict[str, bool] = {}

    def lead(accounts: Sequence[Account]) -> None:
        if new := [account.login for account in accounts if account.login not in enabled]:
            office.enrol_many(new)
            enabled.update(dict.fromkeys(new, True))
        for account in accounts:
            if enabled[account.login] != account.access_open:
                enabled[account.login] = account.access_open
                office.change(account.login, sesameMailEnabled=[str(account.access_open).upper()])

    return lead


@pytest.fixture
def bench(office: PostOffice, database: Database, leader: Leader) -> ConnectorBench:
    dovecot = office.dovecot

    def settings(address: str) -> dict[str, object]:
        return {
            "doveadm_url": f"https://{address}/doveadm/v1",
            "api_key_file": dovecot.api_key_file,
            "ca_file": dovecot.ca_file,
            "lmtp_port": dovecot.ports.lmtp,
            "probe_user": office.slapd.probe_mail,
        }

    return ConnectorBench(
        MailboxConnector,
        settings,
        f"127.0.0.1:{dovecot.ports.doveadm}",
        protocol="tcp",
        refuse=lambda account: account.model_copy(update={"mail_redirect": account.mail}),
        domain=office.slapd.layout.domain,
        site=SiteFacts(database=database, letterhead=LETTERHEAD),
        leader=leader,
        fixed={"timeout_s": 10.0},
        product=f"Dovecot {'.'.join(map(str, dovecot.version))}",
    )


def test_the_server_finds_who_is_to_be_erased_and_nobody_logs_in(
    bench: ConnectorBench, office: PostOffice
) -> None:
    account = bench.account()
    expired = account.model_copy(update={"version": 2, "stage": Stage.EXPIRED})
    with bench.connected() as connector:
        handler: Handler = connector.handler()
        erased = expired.model_copy(update={"stages": {connector.name: Stage.ERASED}})

        def outcome(account: Account) -> HandlerOutcome:
            return handler.handle([Task(account.at(connector.name))])[account.student_number]

        office.enrol(account.login)
        assert isinstance(outcome(account), Done)
        assert office.messages(account.mail)
        office.change(account.login, sesameMailEnabled=["FALSE"])
        assert isinstance(outcome(expired), Done)
        assert isinstance(outcome(erased), Waiting), "it finds no user"
        office.change(account.login, supannRessourceEtat=["{MAIL}I:SupannSupprDonnees"])
        gone, again = outcome(erased), outcome(erased)
        assert isinstance(gone, Done)
        assert isinstance(again, Done)
        assert (gone.changed, again.changed) == (True, False)
    with pytest.raises(imaplib.IMAP4.error):
        office.imap(account.mail)


def test_where_nobody_makes_students_known_to_it_the_suite_says_so(bench: ConnectorBench) -> None:
    bench.leader = None
    CHECKS["the_probe_succeeds"](bench)
    with pytest.raises(Skipped, match="directory"):
        CHECKS["a_new_student_is_there_when_it_is_said"](bench)
