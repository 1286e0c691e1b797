"""The mailbox consumer on a real Dovecot and slapd: what students get, and what stays as it is."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable

import pytest

from consumers.kit.connector import Held, Refused
from consumers.kit.deadline import Deadline
from consumers.mailbox.mailbox import SCRIPT
from pipeline.target import Dead, Done, Retry, Waiting
from sandbox.process import PATIENCE_S, wait_until
from schemas.account import Hold, Stage
from sesame.testing.servers.mailbox_kit import WELCOME, DovecotHarness, Student
from sesame.testing.servers.post_office import PostOffice


def write_to(office: PostOffice, address: str, subject: str) -> None:
    """Somebody writes to a student."""
    tls = ssl.create_default_context(cafile=str(office.dovecot.ca_file))
    with smtplib.LMTP("127.0.0.1", office.dovecot.ports.lmtp, timeout=PATIENCE_S) as client:
        client.starttls(context=tls)
        refused = client.sendmail(
            "camarade@ailleurs.example", [address], f"Subject: {subject}\r\n\r\nbonjour\r\n".encode()
        )
    assert refused == {}


def test_a_new_student_finds_a_folder_a_quota_and_one_welcome_message(desk: DovecotHarness) -> None:
    zoe = desk.student("zoe.lefevre")
    [outcome] = desk.provision(zoe)
    assert isinstance(outcome, Done)
    assert outcome.changed
    [message] = desk.office.messages(zoe.mail)
    assert message["Message-ID"] == WELCOME.message_id(zoe.number)
    assert "Bonjour Zoe" in message.get_payload(0).get_payload(decode=True).decode()  # type: ignore[union-attr]
    client = desk.office.imap(zoe.mail)
    assert client.select('"Scolarit&AOk-"')[0] == "OK"  # modified UTF-7 (RFC 3501)
    client.logout()


def test_the_message_speaks_english_to_whoever_asked_for_it(desk: DovecotHarness) -> None:
    mary = desk.student("mary.oconnor", language="en-GB")
    desk.provision(mary)
    [message] = desk.office.messages(mary.mail)
    assert message["Content-Language"] == "en"
    assert message["Subject"] == "Welcome: your university account is open"


def test_a_student_whom_the_directory_has_not_enabled_is_tried_again(desk: DovecotHarness) -> None:
    lea, hugo = desk.student("lea.dubois", enabled=False), desk.student("hugo.petit")
    waits, done = desk.provision(lea, hugo)
    assert isinstance(waits, Retry)
    assert waits.cause == "mailbox_not_enabled"
    assert isinstance(done, Done)
    assert desk.intended(lea) is None
    desk.office.change("lea.dubois", sesameMailEnabled=["TRUE"])
    assert isinstance(desk.provision(lea)[0], Done)
    assert desk.welcomes(lea) == 1


def test_a_deleted_or_moved_welcome_message_is_not_sent_again(desk: DovecotHarness) -> None:
    jade, theo = desk.student("jade.rousseau"), desk.student("theo.le-goff")
    desk.provision(jade, theo)
    for student, verb in ((jade, "STORE"), (theo, "MOVE")):
        client = desk.office.imap(student.mail)
        client.select("INBOX")
        if verb == "STORE":
            client.store("1", "+FLAGS", r"\Deleted")
            client.expunge()
        else:
            assert client.uid("MOVE", "1", "Scolarit&AOk-")[0] == "OK"
        client.logout()
    outcomes = desk.provision(jade, theo)
    assert [type(outcome) for outcome in outcomes] == [Done, Done]
    assert desk.welcomes(jade) == 0
    assert (desk.welcomes(theo), desk.welcomes(theo, '"Scolarit&AOk-"')) == (0, 1)


def test_a_folder_that_the_student_hid_or_removed_comes_back(desk: DovecotHarness) -> None:
    ines, paul = desk.student("ines.el-amrani"), desk.student("paul.martin")
    [first, _] = desk.provision(ines, paul)
    for student, verb in ((ines, "unsubscribe"), (paul, "delete")):
        client = desk.office.imap(student.mail)
        assert getattr(client, verb)("Scolarit&AOk-")[0] == "OK"
        client.logout()
    again = desk.provision(ines, paul)
    assert {(type(o), getattr(o, "changed", None)) for o in again} == {(Done, True)}
    assert isinstance(first, Done)
    assert {getattr(o, "digest", None) for o in again} == {first.digest}


def test_an_opted_in_redirection_keeps_a_copy_and_comes_after_the_welcome(desk: DovecotHarness) -> None:
    adam = desk.student("adam.benali")
    adam.now(mail_redirect="adam.perso@ailleurs.example")
    [outcome] = desk.provision(adam)
    assert isinstance(outcome, Done)
    sent_before = len(desk.office.dovecot.redirected())
    write_to(desk.office, adam.mail, "apres")
    wait_until(lambda: len(desk.office.dovecot.redirected()) > sent_before, "the redirected message")
    sent = b"".join(desk.office.dovecot.redirected())
    assert b"Subject: apres" in sent
    assert WELCOME.message_id(adam.number).encode() not in sent
    assert [m["Subject"] for m in desk.office.messages(adam.mail)][1:] == ["apres"]


def test_a_redirection_follows_the_students_choices(desk: DovecotHarness) -> None:
    nina = desk.student("nina.kowalski")
    digests: list[str] = []
    scripts: list[dict[str, str]] = []
    for choice in (None, "nina@un.example", "nina@deux.example", None):
        nina.now(mail_redirect=choice)
        [outcome] = desk.provision(nina)
        assert isinstance(outcome, Done)
        digests.append(outcome.digest)
        [(_, scripts)] = desk.office.doveadm(("sieveList", {"user": nina.mail}))
        assert [s["script"] for s in scripts if s["active"]] == ([SCRIPT] if choice else [])
    assert scripts == []
    assert len(set(digests)) == 3
    assert digests[0] == digests[-1]


def test_a_students_own_script_is_left_alone_and_the_redirection_waits(desk: DovecotHarness) -> None:
    luc = desk.student("luc.moreau")
    own = {"user": luc.mail, "scriptname": "tri", "file": 'require ["fileinto"];\nkeep;\n', "activate": True}
    desk.office.doveadm(("sievePut", own))
    luc.now(mail_redirect="luc@ailleurs.example")
    [outcome] = desk.provision(luc)
    assert isinstance(outcome, Waiting)
    assert (outcome.reason, outcome.pending) == ("own_sieve_script_active", ("redirect",))
    [(_, scripts)] = desk.office.doveadm(("sieveList", {"user": luc.mail}))
    assert [(s["script"], s["active"]) for s in scripts] == [("tri", "ACTIVE")]
    assert desk.welcomes(luc) == 1
    luc.now(mail_redirect=None)
    assert isinstance(desk.provision(luc)[0], Done)
    assert desk.office.doveadm(("sieveList", {"user": luc.mail}))[0][1] == scripts


def test_a_welcome_that_the_students_own_script_files_elsewhere_is_found_there(desk: DovecotHarness) -> None:
    ada = desk.student("ada.roche")
    sort = 'require ["fileinto", "mailbox"];\nfileinto :create "Tri";\n'
    desk.office.doveadm(("sievePut", {"user": ada.mail, "scriptname": "tri", "file": sort, "activate": True}))
    assert isinstance(desk.provision(ada)[0], Done)
    assert (desk.welcomes(ada), desk.welcomes(ada, "Tri")) == (0, 1)
    assert desk.intended(ada) == "sent"


def test_a_redirection_to_nowhere_or_to_itself_is_a_dead_letter_and_all_else_is_done(
    desk: DovecotHarness,
) -> None:
    eva = desk.student("eva.fontaine")
    for bad in ('x"; discard; #@y', "pas une adresse", eva.mail.upper(), "a@b\r\n.c"):
        eva.now(mail_redirect=bad)
        [outcome] = desk.provision(eva)
        assert isinstance(outcome, Dead)
        assert outcome.cause == "redirect_invalid"
        assert bad not in outcome.message
    assert desk.welcomes(eva) == 1
    assert desk.office.doveadm(("sieveList", {"user": eva.mail})) == [("doveadmResponse", [])]


def test_a_full_mailbox_waits_with_a_reason_and_goes_on_when_there_is_room(desk: DovecotHarness) -> None:
    desk.quota_bytes = None
    max_ = desk.student("max.legrand", sesameMailQuota="20000000")
    filler = "From: x\r\n\r\n" + "une ligne de plus dans une boite pleine\r\n" * 300_000
    client = desk.office.imap(max_.mail)
    assert client.append("INBOX", "", "", filler.encode())[0] == "OK"
    client.logout()
    desk.office.change("max.legrand", sesameMailQuota=["1000000"])  # Dovecot 2.4 has 10 MB of grace
    [foreseen] = desk.handler().preview([max_.account]).values()
    assert (foreseen.differs, foreseen.obstacle) == (("folders", "welcome"), "mailbox_full")
    [outcome] = desk.provision(max_)
    assert isinstance(outcome, Waiting)
    assert (outcome.reason, outcome.pending) == ("mailbox_full", ("welcome",))
    desk.office.change("max.legrand", sesameMailQuota=["20000000"])
    assert isinstance(desk.provision(max_)[0], Done)
    assert desk.welcomes(max_) == 1


def test_a_suspended_student_is_logged_out_and_read_back_as_closed(desk: DovecotHarness) -> None:
    sami = desk.student("sami.haddad")
    desk.provision(sami)
    session = desk.office.imap(sami.mail)
    sami.now(holds=frozenset({Hold.SUSPENDED}))
    [early] = desk.provision(sami)  # the directory has not shut it yet
    assert isinstance(early, Retry)
    assert early.cause == "directory_behind"
    with pytest.raises(session.abort):
        session.noop()
    session.shutdown()
    desk.office.change("sami.haddad", sesameMailEnabled=["FALSE"])
    [closed] = desk.provision(sami)
    assert isinstance(closed, Done)
    sami.now(stage=Stage.EXPIRED, holds=frozenset())
    assert desk.provision(sami) == [closed]
    desk.office.change("sami.haddad", sesameMailEnabled=["TRUE"])
    sami.now(stage=Stage.ACTIVE)
    assert isinstance(desk.provision(sami)[0], Done)
    assert desk.welcomes(sami) == 1


def test_an_erased_mailbox_has_neither_messages_nor_folders_nor_scripts(desk: DovecotHarness) -> None:
    lou, kim = desk.student("lou.perrin"), desk.student("kim.tran")
    lou.now(mail_redirect="lou.perso@ailleurs.example")
    desk.provision(lou, kim)
    own = {"user": lou.mail, "scriptname": "tri", "file": "keep;\n", "activate": True}
    desk.office.doveadm(
        ("mailboxCreate", {"user": lou.mail, "mailbox": ["Cours/L1"], "subscriptions": True}),
        ("sievePut", own),
    )
    client = desk.office.imap(lou.mail)
    assert client.append("Cours/L1", "", "", b"Subject: notes\r\n\r\nbonjour\r\n")[0] == "OK"
    connector = desk.connector()
    for _ in range(2):  # it may be repeated
        found = connector.read([lou.account], Deadline.after(PATIENCE_S))[lou.number]
        assert not isinstance(found, Held | Refused)
        assert connector.erase(found, Deadline.after(PATIENCE_S)) == {}
        assert desk.office.messages(lou.mail) == []
        user = {"user": lou.mail}
        left = desk.office.doveadm(
            ("mailboxList", user), ("mailboxList", {**user, "subscriptions": True}), ("sieveList", user)
        )
        assert [rows for _, rows in left] == [[{"mailbox": "INBOX"}], [], []]
    assert desk.welcomes(kim) == 1
    client.shutdown()


@pytest.mark.parametrize("spell", [str.upper, str.title])
def test_an_address_in_other_letters_is_the_same_mailbox(
    desk: DovecotHarness, spell: Callable[[str], str]
) -> None:
    zoe = desk.student(f"zoe.{spell.__name__}")
    assert isinstance(desk.provision(zoe)[0], Done)
    mailbox, _, domain = zoe.mail.partition("@")
    account = zoe.account.model_copy(update={"mail": f"{spell(mailbox)}@{domain}"})
    [outcome] = desk.provision(Student(account, zoe.login))
    assert isinstance(outcome, Done)
    assert desk.welcomes(zoe) == 1
    assert len(desk.office.messages(zoe.mail)) == 1
