"""The best client of each target that we can write with its client library, without any of our own code.

Who is there already is not written over, the welcome message is sent once, and what was written is read back.
Unlike the pipeline, it looks for nothing that should not be there (a script), and has students of its own, no
log, no store, no versions and no outcomes.
"""

from __future__ import annotations

import smtplib
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from ldap3 import NONE, Connection, Server, Tls
from ldap3.utils.conv import escape_filter_chars

from sandbox.moodle import MoodleStandIn
from sandbox.slapd import Slapd
from schemas.account import Account
from sesame.testing.servers.post_office import PostOffice

AT_ONCE = 4
_LETTER = "\r\n".join(["x" * 70] * 60)
_STATUS = ["uidvalidity", "uidnext", "messages"]


def _rate(students: Sequence[Account], size: int, carry: Callable[[Sequence[Account]], None]) -> float:
    """Students per second, in batches of `size`, `AT_ONCE` at a time."""
    batches = [students[first : first + size] for first in range(0, len(students), size)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = time.perf_counter()
        for _ in pool.map(carry, batches):
            pass
        return len(students) / (time.perf_counter() - begun)


def directory(slapd: Slapd, students: Sequence[Account]) -> float:
    """OpenLDAP: one add each, which refuses an entry that exists, and one search that reads a batch back."""
    tls = Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=str(slapd.ca_file))
    server = Server(slapd.ldap_uri, tls=tls, get_info=NONE)  # a schema read by one thread breaks the others'
    mine = threading.local()

    def connection() -> Any:
        if not hasattr(mine, "connection"):
            password = slapd.provisioner_password_file.read_text(encoding="ascii")
            mine.connection = Connection(server, slapd.provisioner_dn, password)
            mine.connection.start_tls()
            mine.connection.bind()
        return mine.connection

    def carry(batch: Sequence[Account]) -> None:
        for each in batch:
            assert connection().add(_dn(slapd, each), attributes=_entry(each)), connection().result
        numbers = "".join(f"(supannEtuId={escape_filter_chars(each.student_number)})" for each in batch)
        connection().search(slapd.people_dn, f"(|{numbers})", attributes=["*", "+"])
        found = connection().response
        assert len(found) == len(batch)
        assert all(len(each["raw_attributes"]["supannEtuId"]) == 1 for each in found)

    return _rate(students, 50, carry)


def _dn(slapd: Slapd, account: Account) -> str:
    return f"uid={account.login},{slapd.people_dn}"


def _entry(account: Account) -> dict[str, Any]:
    number = account.student_number
    return {
        "objectClass": ["inetOrgPerson", "eduPerson", "supannPerson", "sesameAccount"],
        "uid": account.login,
        "supannEtuId": number,
        "cn": "Lefevre-Noel Zoe",
        "sn": "Lefèvre-Noël",
        "givenName": "Zoé",
        "displayName": "Zoé Lefèvre-Noël",
        "mail": account.mail,
        "preferredLanguage": "fr",
        "eduPersonAffiliation": ["member", "student"],
        "eduPersonPrimaryAffiliation": "student",
        "eduPersonScopedAffiliation": ["member@univ-exemple.fr", "student@univ-exemple.fr"],
        "eduPersonPrincipalName": account.principal,
        "eduPersonOrgDN": "dc=univ-exemple,dc=fr",
        "supannAliasLogin": account.login,
        "supannRefId": f"{{APOGEE}}{number}",
        "supannEtablissement": "{UAI}0751717J",
        "supannEntiteAffectation": "SCI",
        "supannEntiteAffectationPrincipale": "SCI",
        "supannEtuInscription": "[etab={UAI}0751717J][anneeinsc=2026][cursusann={SUPANN}L1][affect=SCI]"
        "[etape={UAI:0751717J}L1INFO-261]",
        "supannEtuAnneeInscription": "2026",
        "supannEtuEtape": "{UAI:0751717J}L1INFO-261",
        "supannEtuCursusAnnee": "{SUPANN}L1",
        "supannRessourceEtat": ["{COMPTE}A:SupannActif", "{MAIL}A:SupannActif"],
        "supannRessourceEtatDate": ["{COMPTE}A:SupannActif::", "{MAIL}A:SupannActif::"],
        "sesameStage": "active",
        "sesameGroup": "L1INFO-2026",
        "sesameMailEnabled": "TRUE",
        "sesameVersion": "1",
    }


def mailbox(office: PostOffice, folder: str, students: Sequence[Account]) -> float:
    """Dovecot: the inbox's state (a welcome is sent to a new one only), a folder, the message, one look."""
    dovecot = office.dovecot
    context = ssl.create_default_context(cafile=str(dovecot.ca_file))
    key = b64encode(dovecot.api_key_file.read_bytes().strip()).decode()
    mine = threading.local()

    def doveadm(commands: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
        body = [[name, arguments, str(tag)] for tag, (name, arguments) in enumerate(commands)]
        answer = client.post(dovecot.doveadm_url, json=body).json()
        assert all(kind == "doveadmResponse" for kind, _, _ in answer), answer
        return [rows for _, rows, _ in answer]

    def lmtp() -> smtplib.LMTP:
        if not hasattr(mine, "lmtp"):
            mine.lmtp = smtplib.LMTP("127.0.0.1", dovecot.ports.lmtp)
            mine.lmtp.starttls(context=context)
        return mine.lmtp  # type: ignore[no-any-return]

    def carry(batch: Sequence[Account]) -> None:
        mails = [each.mail for each in batch]
        before = doveadm(
            [("mailboxStatus", {"user": u, "field": _STATUS, "mailboxMask": ["INBOX"]}) for u in mails]
        )
        assert all(inbox["uidnext"] == "1" for [inbox] in before)
        doveadm([("mailboxCreate", {"user": u, "mailbox": [folder], "subscriptions": True}) for u in mails])
        for user in mails:
            letter = f"From: a@univ-exemple.fr\r\nTo: {user}\r\nMessage-ID: <{user}>\r\n\r\n{_LETTER}"
            assert lmtp().sendmail("a@univ-exemple.fr", [user], letter) == {}
        looks = [look for user in mails for look in _looks(user)]
        after = iter(doveadm(looks))
        for folders, message in zip(after, after, strict=True):
            assert folder in {row["mailbox"] for row in folders}
            assert len(message) == 1

    # As with ours, a connection ends with its request: a doveadm process slows down with each mailbox.
    limits = httpx.Limits(max_keepalive_connections=0)
    headers = {"Authorization": f"X-Dovecot-API {key}"}
    with httpx.Client(verify=context, limits=limits, headers=headers, timeout=30.0) as client:
        return _rate(students, 10, carry)


def _looks(user: str) -> list[tuple[str, dict[str, Any]]]:
    query = ["mailbox", "INBOX", "HEADER", "Message-ID", f"<{user}>"]
    return [
        ("mailboxList", {"user": user, "subscriptions": True}),
        ("fetch", {"user": user, "field": ["uid"], "query": query}),
    ]


def moodle(site: MoodleStandIn, students: Sequence[Account]) -> float:
    """Moodle: who is there, users and members fifty a call, and both read back."""

    def call(function: str, form: dict[str, Any]) -> Any:
        fixed = {"wstoken": site.token, "wsfunction": function, "moodlewsrestformat": "json"}
        answer = client.post(site.endpoint, data=fixed | form).json()
        assert "exception" not in (answer or {}), answer
        return answer

    def by_number(batch: Sequence[Account]) -> list[Any]:
        values = {f"values[{n}]": each.student_number for n, each in enumerate(batch)}
        return call("core_user_get_users_by_field", {"field": "idnumber", **values})  # type: ignore[no-any-return]

    def carry(batch: Sequence[Account]) -> None:
        assert by_number(batch) == []
        made = call(
            "core_user_create_users", {k: v for n, each in enumerate(batch) for k, v in _user(n, each)}
        )
        cohort = cohort_of(batch[0])
        joined = {k: v for n, each in enumerate(made) for k, v in _member(n, cohort, each["id"])}
        call("core_cohort_add_cohort_members", joined)
        ids = {each["id"] for each in by_number(batch)}
        [found] = call("core_cohort_get_cohort_members", {"cohortids[0]": cohort})
        assert len(ids) == len(batch)
        assert ids <= set(found["userids"])

    def cohort_of(account: Account) -> int:
        """The cohort of these students, made if there is none."""
        with lock:
            key = account.cohorts[0].key
            if key not in cohorts:
                form = {
                    "cohorts[0][categorytype][type]": "system",
                    "cohorts[0][categorytype][value]": "",
                    "cohorts[0][name]": key,
                    "cohorts[0][idnumber]": key,
                }
                cohorts[key] = call("core_cohort_create_cohorts", form)[0]["id"]
            return cohorts[key]

    lock, cohorts = threading.Lock(), dict[str, int]()
    with httpx.Client(timeout=30.0) as client:
        return _rate(students, 50, carry)


def _user(n: int, account: Account) -> list[tuple[str, str]]:
    fields = {
        "username": account.login,
        "auth": "cas",
        "firstname": "Zoé",
        "lastname": "Lefèvre-Noël",
        "email": account.mail,
        "idnumber": account.student_number,
    }
    return [(f"users[{n}][{name}]", str(value)) for name, value in fields.items()]


def _member(n: int, cohort: int, userid: int) -> list[tuple[str, Any]]:
    place = f"members[{n}]"
    return [
        (f"{place}[cohorttype][type]", "id"),
        (f"{place}[cohorttype][value]", cohort),
        (f"{place}[usertype][type]", "id"),
        (f"{place}[usertype][value]", userid),
    ]
