"""The project's own slapd configuration, as a real slapd runs it."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.process import PATIENCE_S, StartFailed, find_program
from sandbox.slapd import Layout, Slapd
from sesame.testing.servers import require_service
from sesame.testing.servers.ldap_tools import as_provisioner, can_log_in, ldap_tool, parse_ldif, search

PASSWORD = "Un-Mot-de-Passe-2026!"


def person(slapd: Slapd, uid: str, **extra: str) -> str:
    """LDIF of a small entry; a password in clear is hashed by slapd when it is changed by the tools only."""
    lines = [
        f"dn: uid={uid},{slapd.people_dn}",
        "objectClass: inetOrgPerson",
        "objectClass: eduPerson",
        "objectClass: supannPerson",
        "objectClass: sesameAccount",
        f"uid: {uid}",
        "cn: Petit Chloe",
        "sn: Petit",
        *(f"{name}: {value}" for name, value in extra.items()),
    ]
    return "\n".join(lines) + "\n"


def test_a_password_never_travels_in_clear(slapd: Slapd) -> None:
    password = slapd.cas_password_file.read_text()
    refused = ldap_tool(slapd, "ldapwhoami", who=slapd.cas_dn, password=password, starttls=False)
    accepted = ldap_tool(slapd, "ldapwhoami", who=slapd.cas_dn, password=password)
    assert (refused.returncode, accepted.returncode) == (13, 0)


def test_a_client_that_calls_the_server_localhost_verifies_it_too(slapd: Slapd) -> None:
    uri = f"ldap://localhost:{slapd.ldap_port}"
    password = slapd.cas_password_file.read_text()
    done = ldap_tool(slapd, "ldapwhoami", who=slapd.cas_dn, password=password, uri=uri)
    assert done.returncode == 0, done.stderr


def test_nobody_reads_a_hash_and_only_a_bind_tries_it(slapd: Slapd) -> None:
    as_provisioner(slapd, "ldapadd", stdin=person(slapd, "hash.lue", userPassword=PASSWORD))
    dn = f"uid=hash.lue,{slapd.people_dn}"
    assert can_log_in(slapd, dn, PASSWORD)
    for who, password in (
        (slapd.provisioner_dn, slapd.provisioner_password_file.read_text()),
        (slapd.cas_dn, slapd.cas_password_file.read_text()),
        (slapd.dovecot_dn, slapd.dovecot_password_file.read_text()),
        (dn, PASSWORD),
    ):
        arguments = ("-LLL", "-b", dn, "-s", "base", "(objectClass=*)", "userPassword", "uid")
        shown = ldap_tool(slapd, "ldapsearch", *arguments, who=who, password=password)
        assert parse_ldif(shown.stdout)[dn] == {"uid": ["hash.lue"]}


def test_the_mail_server_sees_what_it_needs_and_nothing_else(slapd: Slapd) -> None:
    ldif = person(
        slapd, "courrier", mail="courrier@univ-exemple.fr", supannEtuId="22609001", sesameMailEnabled="TRUE"
    )
    as_provisioner(slapd, "ldapadd", stdin=ldif)
    password = slapd.dovecot_password_file.read_text()
    criterion = "(&(sesameMailEnabled=TRUE)(mail=courrier@univ-exemple.fr))"
    found = ldap_tool(
        slapd, "ldapsearch", "-LLL", "-b", slapd.base_dn, criterion, who=slapd.dovecot_dn, password=password
    )
    (entry,) = parse_ldif(found.stdout).values()
    assert set(entry) == {"objectClass", "uid", "mail", "sesameMailEnabled"}
    arguments = ("-LLL", "-b", slapd.base_dn, "(supannEtuId=22609001)")
    by_number = ldap_tool(slapd, "ldapsearch", *arguments, who=slapd.dovecot_dn, password=password)
    assert parse_ldif(by_number.stdout) == {}
    change = f"dn: uid=courrier,{slapd.people_dn}\nchangetype: modify\nreplace: sn\nsn: Autre\n"
    written = ldap_tool(slapd, "ldapmodify", who=slapd.dovecot_dn, password=password, stdin=change)
    assert written.returncode == 50


def test_a_student_reads_their_own_entry_and_nobody_elses(slapd: Slapd) -> None:
    as_provisioner(slapd, "ldapadd", stdin=person(slapd, "chloe.petit", userPassword=PASSWORD))
    as_provisioner(slapd, "ldapadd", stdin=person(slapd, "autre.petit"))
    dn = f"uid=chloe.petit,{slapd.people_dn}"
    found = ldap_tool(slapd, "ldapsearch", "-LLL", "-b", dn, "(uid=*)", who=dn, password=PASSWORD)
    everybody = ldap_tool(
        slapd, "ldapsearch", "-LLL", "-b", slapd.people_dn, "(uid=*)", who=dn, password=PASSWORD
    )
    assert list(parse_ldif(found.stdout)) == [dn]
    assert parse_ldif(everybody.stdout) == {}


def test_eight_writers_cannot_give_one_address_to_two_people(slapd: Slapd) -> None:
    password = slapd.provisioner_password_file.read_text()

    def add(number: int) -> int:
        ldif = person(slapd, f"course{number}", mail="course@univ-exemple.fr")
        return ldap_tool(slapd, "ldapadd", who=slapd.provisioner_dn, password=password, stdin=ldif).returncode

    with ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(add, range(8)))
    assert codes == [0] + [19] * 7


def test_a_group_is_a_search_on_its_members(slapd: Slapd) -> None:
    as_provisioner(slapd, "ldapadd", stdin=person(slapd, "membre", sesameGroup="L3HIST-2026"))
    url = f"ldap:///{slapd.people_dn}??sub?(sesameGroup=L3HIST-2026)"
    group = (
        f"dn: cn=L3HIST-2026,{slapd.groups_dn}\nobjectClass: groupOfURLs\ncn: L3HIST-2026\nmemberURL: {url}\n"
    )
    as_provisioner(slapd, "ldapadd", stdin=group)
    (shown,) = search(slapd, slapd.groups_dn, "(cn=L3HIST-2026)", "member").values()
    assert shown == {"member": [f"uid=membre,{slapd.people_dn}"]}


def test_what_was_acknowledged_survives_a_crash(own_slapd: Slapd) -> None:
    as_provisioner(own_slapd, "ldapadd", stdin=person(own_slapd, "durable"))
    own_slapd.kill()
    assert not own_slapd.running
    own_slapd.start()
    assert list(search(own_slapd, own_slapd.people_dn, "(uid=durable)", "1.1")) == [
        f"uid=durable,{own_slapd.people_dn}"
    ]


def test_the_same_folder_is_the_same_directory_with_the_tree_that_was_asked_for(tmp_path: Path) -> None:
    layout = Layout(suffix="dc=univ-autre,dc=fr", people="ou=personnes", domain="univ-autre.fr")
    first = require_service(lambda: Slapd(tmp_path, layout=layout, fsync=False))
    with first:
        as_provisioner(first, "ldapadd", stdin=person(first, "restee"))
    with Slapd(tmp_path, layout=layout, fsync=False) as second:
        assert (second.ldap_uri, second.ldaps_uri) == (first.ldap_uri, first.ldaps_uri)
        assert list(search(second, "ou=personnes,dc=univ-autre,dc=fr", "(uid=restee)", "1.1")) == [
            "uid=restee,ou=personnes,dc=univ-autre,dc=fr"
        ]


def test_a_server_that_cannot_start_shows_the_end_of_its_log(own_slapd: Slapd) -> None:
    own_slapd.stop()
    (own_slapd.folder / "tls" / "server.pem").write_text("not a certificate")
    with pytest.raises(StartFailed, match=r"slapd ended with status 1"):
        own_slapd.start()
    assert not own_slapd.running


def test_secrets_are_readable_by_their_owner_only(slapd: Slapd) -> None:
    files = (
        slapd.provisioner_password_file,
        slapd.dovecot_password_file,
        slapd.folder / "tls" / "server.key",
    )
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_the_configuration_converts_to_the_form_that_debians_service_reads(
    own_slapd: Slapd, tmp_path: Path
) -> None:
    own_slapd.stop()  # the conversion opens the database
    program = find_program("slaptest", "slapd")
    conf = own_slapd.folder / "conf" / "slapd.conf"
    done = subprocess.run(
        [program, "-f", conf, "-F", tmp_path], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    database = (tmp_path / "cn=config" / "olcDatabase={1}mdb.ldif").read_text()
    assert f"olcSuffix: {own_slapd.base_dn}" in database
    uniqueness = next((tmp_path / "cn=config" / "olcDatabase={1}mdb").glob("*unique.ldif")).read_text()
    assert uniqueness.count("serialize ldap") == 4


def test_whoever_tries_wrong_passwords_keeps_nobody_else_out(slapd: Slapd) -> None:
    dn = f"uid=assiegee,{slapd.people_dn}"
    as_provisioner(slapd, "ldapadd", stdin=person(slapd, "assiegee"))
    as_provisioner(slapd, "ldapmodify", stdin=replaced(dn, "userPassword", PASSWORD))
    with ThreadPoolExecutor(3) as attackers:
        tried = list(attackers.map(lambda n: can_log_in(slapd, dn, f"wrong-{n}"), range(60)))
    assert tried == [False] * 60
    assert can_log_in(slapd, dn, PASSWORD)
    with ThreadPoolExecutor(4) as at_once:  # nor while they go on
        tries = [at_once.submit(can_log_in, slapd, dn, f"wrong-{n}") for n in range(60)]
        good = [can_log_in(slapd, dn, PASSWORD) for _ in range(5)]
        assert good == [True] * 5
        assert not any(attempt.result() for attempt in tries)


def test_wrong_passwords_are_noted_and_an_administrative_lock_still_shuts(slapd: Slapd) -> None:
    dn = f"uid=fermee,{slapd.people_dn}"
    as_provisioner(slapd, "ldapadd", stdin=person(slapd, "fermee"))
    as_provisioner(slapd, "ldapmodify", stdin=replaced(dn, "userPassword", PASSWORD))
    for n in range(12):
        assert not can_log_in(slapd, dn, f"wrong-{n}")
    noted = search(slapd, dn, "(uid=*)", "pwdFailureTime")[dn]["pwdFailureTime"]
    assert 1 <= len(noted) <= 10
    assert can_log_in(slapd, dn, PASSWORD)
    as_provisioner(slapd, "ldapmodify", stdin=replaced(dn, "pwdAccountLockedTime", "000001010000Z"))
    assert not can_log_in(slapd, dn, PASSWORD)


def replaced(dn: str, name: str, value: str) -> str:
    """LDIF of a change of one attribute."""
    return f"dn: {dn}\nchangetype: modify\nreplace: {name}\n{name}: {value}\n"
