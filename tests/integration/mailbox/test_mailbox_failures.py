"""The mailbox consumer when something breaks: crashes around the welcome message, outages, refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from consumers.kit.connector import Change, Held, Refused
from consumers.kit.deadline import Deadline
from consumers.mailbox.connector import MailboxConnector
from consumers.mailbox.posting import NOT_SENT_AGAIN
from consumers.mailbox.welcome import Welcome
from pipeline.errors import Misconfigured, TargetDown
from pipeline.target import Dead, Done, Retry
from sandbox.ports import free_port
from sandbox.process import wait_until
from schemas.account import Account
from sesame.testing.servers.mailbox_kit import (
    WELCOME,
    Cut,
    DovecotHarness,
    Dying,
    DyingAfter,
    ProcessDied,
    Student,
    desk_at,
)
from sesame.testing.servers.post_office import PostOffice

OUTAGE_S = 3.0
"""A short time-out, for tests in which nobody answers."""


@pytest.fixture
def desk(office: PostOffice, tmp_path: Path) -> Iterator[DovecotHarness]:
    with desk_at(office, tmp_path) as desk:
        yield desk
        office.slapd.resume()
        office.dovecot.resume()
        office.slapd.start()
        office.dovecot.start()


def crash(desk: DovecotHarness, student: Student, *, delivered: bool) -> None:
    """The process is killed after the intent was recorded: before the message was sent, or just after."""
    dying = desk.lmtp(DyingAfter if delivered else Dying)
    with pytest.raises(ProcessDied):
        desk.provision(student, handler=desk.handler(lmtp=dying))
    assert desk.intended(student) == "intended"


def receive(desk: DovecotHarness, student: Student, subject: str) -> None:
    """Another message comes."""
    client = desk.office.imap(student.mail)
    assert client.append("INBOX", "", "", f"Subject: {subject}\r\n\r\nbonjour\r\n".encode())[0] == "OK"
    client.logout()


def delete_all(desk: DovecotHarness, student: Student) -> None:
    client = desk.office.imap(student.mail)
    client.select("INBOX")
    client.store("1:*", "+FLAGS", r"\Deleted")
    client.expunge()
    client.logout()


def test_killed_between_intent_and_sending_the_message_is_sent_once(desk: DovecotHarness) -> None:
    zoe = desk.student("zoe.lefevre")
    crash(desk, zoe, delivered=False)
    receive(desk, zoe, "entre-temps")  # still there: it proves that nothing came and went
    assert isinstance(desk.provision(zoe)[0], Done)
    assert desk.welcomes(zoe) == 1
    assert desk.intended(zoe) == "sent"


def test_killed_between_sending_and_recording_the_message_is_not_sent_again(desk: DovecotHarness) -> None:
    noe = desk.student("noe.garnier")
    crash(desk, noe, delivered=True)
    assert isinstance(desk.provision(noe)[0], Done)
    assert desk.welcomes(noe) == 1
    assert desk.intended(noe) == "sent"


def test_killed_after_sending_and_moved_by_the_student_it_is_found_in_another_folder(
    desk: DovecotHarness,
) -> None:
    lea = desk.student("lea.dubois")
    crash(desk, lea, delivered=True)
    client = desk.office.imap(lea.mail)
    client.select("INBOX")
    assert client.uid("MOVE", "1", "Scolarit&AOk-")[0] == "OK"
    client.logout()
    assert isinstance(desk.provision(lea)[0], Done)
    assert (desk.welcomes(lea), desk.welcomes(lea, '"Scolarit&AOk-"')) == (0, 1)


def test_killed_after_sending_and_deleted_by_the_student_it_is_undecided_and_not_sent_again(
    desk: DovecotHarness,
) -> None:
    hugo = desk.student("hugo.petit")
    crash(desk, hugo, delivered=True)
    delete_all(desk, hugo)
    outcomes = [desk.provision(hugo)[0], desk.provision(hugo)[0]]
    assert [(type(o), getattr(o, "note", "")) for o in outcomes] == [(Done, NOT_SENT_AGAIN)] * 2
    assert desk.welcomes(hugo) == 0
    assert desk.intended(hugo) == "undecided"


def test_killed_before_sending_but_another_message_deleted_it_cannot_be_told_apart(
    desk: DovecotHarness,
) -> None:
    jade = desk.student("jade.rousseau")
    crash(desk, jade, delivered=False)
    receive(desk, jade, "supprimé ensuite")
    delete_all(desk, jade)
    [outcome] = desk.provision(jade)
    assert isinstance(outcome, Done)
    assert outcome.note == NOT_SENT_AGAIN
    assert desk.welcomes(jade) == 0


def test_killed_before_sending_with_a_script_that_may_have_hidden_it_it_cannot_be_told_apart(
    desk: DovecotHarness,
) -> None:
    theo = desk.student("theo.le-goff")
    crash(desk, theo, delivered=False)
    own = {"user": theo.mail, "scriptname": "tri", "file": "discard;\n", "activate": True}
    desk.office.doveadm(("sievePut", own))
    [outcome] = desk.provision(theo)
    assert isinstance(outcome, Done)
    assert outcome.note == NOT_SENT_AGAIN


def test_without_a_journal_a_message_that_is_there_is_recognised(
    desk: DovecotHarness, tmp_path: Path
) -> None:
    ines = desk.student("ines.el-amrani")
    desk.provision(ines)
    (tmp_path / "new").mkdir()
    with desk_at(desk.office, tmp_path / "new") as restored:
        assert isinstance(restored.provision(ines)[0], Done)
        assert restored.intended(ines) == "sent"
    assert desk.welcomes(ines) == 1


class Long(Welcome):
    """A message that takes several packets."""

    def render(self, account: Account) -> bytes:
        """See `Welcome.render`."""
        return super().render(account) + b"une ligne de plus\r\n" * 2000


def test_a_reply_lost_after_the_message_was_sent_leaves_one_message(
    desk: DovecotHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message arrives and its acknowledgement does not: the outcome is unknown, and found out later."""
    paul = desk.student("paul.martin")
    long = Long(WELCOME.letterhead, WELCOME.clock)
    monkeypatch.setattr("sesame.testing.servers.mailbox_kit.WELCOME", long)
    with Cut(desk.office.dovecot.ports.lmtp, after_bytes=len(long.render(paul.account)) // 2) as cut:
        [outcome] = desk.provision(paul, handler=desk.handler(lmtp_port=cut.port))
    assert isinstance(outcome, Retry)
    assert outcome.unknown
    assert desk.intended(paul) == "intended"
    wait_until(lambda: desk.welcomes(paul) == 1, "the message whose acknowledgement was lost")
    assert isinstance(desk.provision(paul)[0], Done)
    assert desk.welcomes(paul) == 1
    assert desk.intended(paul) == "sent"


def test_kept_connections_that_a_restart_closed_are_replaced(desk: DovecotHarness) -> None:
    handler = desk.handler()
    before, after = desk.student("adam.benali"), desk.student("nina.kowalski")
    assert isinstance(desk.provision(before, handler=handler)[0], Done)
    desk.office.dovecot.restart()
    assert isinstance(desk.provision(after, handler=handler)[0], Done)
    assert desk.welcomes(after) == 1


def test_with_the_directory_away_the_target_is_down_and_the_probe_says_so_too(desk: DovecotHarness) -> None:
    luc = desk.student("luc.moreau")
    handler = desk.handler(timeout_s=OUTAGE_S)
    desk.office.slapd.stop()
    with pytest.raises(TargetDown) as down:
        handler.probe()
    assert not down.value.unknown
    with pytest.raises(TargetDown):
        desk.provision(luc, handler=handler)
    desk.office.slapd.start()

    def works_again() -> bool:
        try:
            handler.probe()
        except TargetDown:
            return False
        return True

    wait_until(works_again, "look-ups after the directory came back")
    assert isinstance(desk.provision(luc)[0], Done)
    assert desk.welcomes(luc) == 1


def test_a_wrong_key_stops_the_consumer_and_names_the_setting(desk: DovecotHarness) -> None:
    handler = desk.handler(api_key=SecretStr("une autre clef"))
    with pytest.raises(Misconfigured) as refused:
        handler.probe()
    assert "mailbox.api_key" in refused.value.remedy
    assert "une autre clef" not in f"{refused.value} {refused.value.remedy}"


def test_a_certificate_of_another_authority_stops_the_consumer(desk: DovecotHarness) -> None:
    other = desk.office.slapd.ca_file
    with pytest.raises(Misconfigured, match="doveadm's certificate"):
        desk.connector(ca_file=other).probe()
    nora = desk.student("nora.barbier")
    with pytest.raises(Misconfigured, match="LMTP service's certificate"):
        desk.provision(nora, handler=desk.handler(lmtp=desk.lmtp(ca_file=other)))
    assert isinstance(desk.provision(nora)[0], Done)
    assert desk.welcomes(nora) == 1


def test_a_missing_lmtp_service_is_an_outage_in_which_nothing_was_sent(desk: DovecotHarness) -> None:
    sami = desk.student("sami.haddad")
    with pytest.raises(TargetDown) as down:
        desk.provision(sami, handler=desk.handler(lmtp_port=free_port()))
    assert not down.value.unknown
    assert isinstance(desk.provision(sami)[0], Done)
    assert desk.welcomes(sami) == 1


def test_an_unknown_probe_account_is_a_fault_of_the_settings(desk: DovecotHarness) -> None:
    with pytest.raises(Misconfigured, match="service account"):
        desk.connector(probe_user="inconnue@univ-exemple.fr").probe()


def test_a_user_disabled_between_reading_and_writing_is_tried_again_and_others_are_done(
    desk: DovecotHarness,
) -> None:
    eva, max_ = desk.student("eva.fontaine"), desk.student("max.legrand")

    class DisabledMeanwhile(MailboxConnector):
        def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
            desk.office.change("eva.fontaine", sesameMailEnabled=["FALSE"])
            return super().apply(changes, deadline)

    gone, done = desk.provision(eva, max_, handler=desk.handler(kind=DisabledMeanwhile))
    assert isinstance(gone, Retry)
    assert gone.cause == "mailbox_not_enabled"
    assert isinstance(done, Done)
    desk.office.change("eva.fontaine", sesameMailEnabled=["TRUE"])
    assert isinstance(desk.provision(eva)[0], Done)
    assert (desk.welcomes(eva), desk.welcomes(max_)) == (1, 1)


def test_a_folder_name_that_dovecot_cannot_use_is_refused_by_name_of_the_setting(
    desk: DovecotHarness,
) -> None:
    [outcome] = desk.provision(desk.student("nadia.cohen"), handler=desk.handler(folders=("/racine",)))
    assert isinstance(outcome, Dead)
    assert "mailbox.folders" in outcome.message
