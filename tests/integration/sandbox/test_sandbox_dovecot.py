"""The sandbox's Dovecot: real, without privileges, and true to the directory."""

from __future__ import annotations

import imaplib
import os
import smtplib
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.dovecot import Dovecot, LookupDirectory
from sandbox.dovecot_conf import render
from sandbox.process import PATIENCE_S, MissingServer, SandboxError, wait_until
from sesame.testing.servers.post_office import PostOffice, doveadm

UNKNOWN_USER = ("error", {"type": "exitCode", "exitCode": 67})
BYTES_PER_KIB = 1024


@pytest.fixture(scope="module")
def office() -> Iterator[PostOffice]:
    try:
        office = PostOffice()
    except MissingServer as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    with office:
        yield office


def find(office: PostOffice, address: str) -> tuple[str, object]:
    return office.doveadm(("user", {"userMask": [address]}))[0]


def deliver(office: PostOffice, address: str, body: bytes) -> dict[str, tuple[int, bytes]]:
    with smtplib.LMTP("127.0.0.1", office.dovecot.ports.lmtp, timeout=PATIENCE_S) as client:
        client.starttls(context=ssl.create_default_context(cafile=str(office.dovecot.ca_file)))
        return client.sendmail("scolarite@univ-exemple.fr", [address], b"Subject: Essai\r\n\r\n" + body)


def test_nothing_of_the_mail_server_runs_as_root(office: PostOffice) -> None:
    group = Path("/proc").glob("[0-9]*/stat")
    owners = {
        path.stat().st_uid
        for path in group
        if path.exists() and path.read_text().rpartition(")")[2].split()[2] == str(office.dovecot.pid)
    }
    assert owners
    assert 0 not in owners


def test_a_student_of_the_directory_logs_in_with_the_directorys_password(office: PostOffice) -> None:
    address = office.enrol("zoe.lefevre", password="Épinard-à-la-crème-7")
    client = office.imap(address, password="Épinard-à-la-crème-7")
    assert client.select("INBOX")[0] == "OK"
    client.logout()
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        office.imap(address, password="autre chose")


def test_a_client_that_trusts_another_authority_refuses_the_server(office: PostOffice) -> None:
    client = imaplib.IMAP4("127.0.0.1", office.dovecot.ports.imap, timeout=PATIENCE_S)
    with pytest.raises(ssl.SSLCertVerificationError):
        client.starttls(ssl.create_default_context(cafile=str(office.slapd.ca_file)))
    with pytest.raises(OSError, match="Bad file descriptor"):  # the failed handshake closed the connection
        client.shutdown()


def test_a_disabled_student_looks_like_an_unknown_one_at_once(office: PostOffice) -> None:
    address = office.enrol("lea.dubois")
    assert find(office, address)[0] == "doveadmResponse"
    office.change("lea.dubois", sesameMailEnabled=["FALSE"])
    assert find(office, address) == UNKNOWN_USER
    office.change("lea.dubois", sesameMailEnabled=["TRUE"])
    assert find(office, address)[0] == "doveadmResponse"


def test_the_probes_account_is_found_through_the_same_directory(office: PostOffice) -> None:
    kind, users = find(office, office.slapd.probe_mail)
    assert kind == "doveadmResponse"
    assert isinstance(users, dict)
    assert list(users) == [office.slapd.probe_mail]


def test_a_students_own_quota_wins_over_the_default(office: PostOffice) -> None:
    own = office.enrol("marie.nguyen", sesameMailQuota="52428800")
    default = office.enrol("paul.martin")
    own_root, default_root = (
        body[0] for _, body in office.doveadm(("quotaGet", {"user": own}), ("quotaGet", {"user": default}))
    )
    assert int(own_root["limit"]) * BYTES_PER_KIB == 52428800
    assert int(default_root["limit"]) * BYTES_PER_KIB == 1024**3


def test_a_message_over_quota_is_refused_with_its_reason(office: PostOffice) -> None:
    address = office.enrol("hugo.petit", sesameMailQuota="100000")
    assert deliver(office, address, b"court\r\n") == {}
    with pytest.raises(smtplib.SMTPDataError) as refused:
        deliver(office, address, b"trop long pour cette petite boite\r\n" * 350_000)  # 2.4 has 10 MB of grace
    assert refused.value.smtp_code == 552
    assert len(office.messages(address)) == 1


def test_an_alias_reaches_the_same_mailbox(office: PostOffice) -> None:
    address = office.enrol("chloe.d-aubigne", supannAutreMail=["chloe.aubigne@univ-exemple.fr"])
    assert deliver(office, "chloe.aubigne@univ-exemple.fr", b"bonjour\r\n") == {}
    assert len(office.messages(address)) == 1


def test_a_redirect_sends_a_copy_to_where_sendmail_would(office: PostOffice) -> None:
    address = office.enrol("ines.el-amrani")
    script = 'require ["copy"];\nredirect :copy "ines@ailleurs.example";\n'
    put = {"user": address, "scriptname": "essai", "file": script, "activate": True}
    assert office.doveadm(("sievePut", put)) == [("doveadmResponse", [])]
    assert deliver(office, address, b"a faire suivre\r\n") == {}
    wait_until(lambda: bool(office.dovecot.redirected()), "the redirected message")
    assert b"ines@ailleurs.example" in office.dovecot.redirected()[0].splitlines()[0]
    assert len(office.messages(address)) == 1


def test_a_crash_and_a_restart_keep_mail_and_ports(office: PostOffice) -> None:
    address = office.enrol("theo.le-goff")
    assert deliver(office, address, b"avant\r\n") == {}
    ports, old_pid = office.dovecot.ports, office.dovecot.pid
    office.dovecot.kill()
    assert not office.dovecot.running
    office.dovecot.start()
    office.dovecot.restart()
    assert office.dovecot.ports == ports
    assert office.dovecot.pid != old_pid
    assert len(office.messages(address)) == 1


def test_look_ups_work_again_soon_after_the_directory_came_back(office: PostOffice) -> None:
    address = office.enrol("jade.rousseau")
    office.slapd.restart()
    wait_until(lambda: find(office, address)[0] == "doveadmResponse", "the look-up after the restart")
    assert find(office, "personne@univ-exemple.fr") == UNKNOWN_USER


def test_a_listing_of_all_users_is_not_cut_at_the_directorys_size_limit(office: PostOffice) -> None:
    many = [f"foule.{number:03d}" for number in range(501)]
    office.enrol_many(many)
    [(kind, listing)] = office.doveadm(("user", {"userMask": ["foule.*"]}))
    assert kind == "doveadmResponse"
    assert len(listing["userList"]) == len(many)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start Dovecot as root")
def test_where_dovecot_is_root_users_are_found_after_somebodys_mail_was_looked_at(office: PostOffice) -> None:
    """A process of doveadm that has opened a mailbox goes on with the rights of the mail's owner."""
    address = office.enrol("lina.moreau")
    with Dovecot(LookupDirectory.of(office.slapd), as_root=True) as dovecot:
        answers = doveadm(
            dovecot,
            ("mailboxStatus", {"user": address, "mailboxMask": ["INBOX"], "field": ["messages"]}),
            ("user", {"userMask": [address]}),
            ("user", {"userMask": [office.slapd.probe_mail]}),
            ("user", {"userMask": ["lina.*"]}),
        )
    assert [kind for kind, _ in answers] == ["doveadmResponse"] * len(answers)
    assert answers[-1][1] == {"userList": [address]}


def test_nobody_but_the_mails_owner_may_look_users_up(office: PostOffice) -> None:
    socket = (office.dovecot.folder / "run" / "auth-userdb").stat()
    assert stat.S_IMODE(socket.st_mode) == 0o600
    assert socket.st_uid == office.dovecot.folder.stat().st_uid


def test_a_value_that_the_configuration_would_not_take_literally_is_refused_unseen() -> None:
    assert render("key = @api_key@", {"api_key": "sésame".encode().hex()}) == "key = 73c3a973616d65"
    for poison in ('a"b', "a#b", "%{user}", "$mail", "a\nb", " leading", "<file", "back\\slash"):
        with pytest.raises(SandboxError) as refused:
            render("key = @api_key@", {"api_key": poison})
        assert poison not in str(refused.value)
        assert "@api_key@" in str(refused.value)
    with pytest.raises(SandboxError, match="@folder@"):
        render("at @folder@", {})
