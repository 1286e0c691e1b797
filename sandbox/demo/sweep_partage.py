"""Partage, as BSS shows it over HTTPS, without Sésame."""

from __future__ import annotations

import hashlib
import hmac
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element, fromstring

from sandbox.demo.finding import Announced, Disagreement
from sandbox.demo.roll import Student
from sandbox.partage import Partage
from sandbox.process import SandboxError

_TIMEOUT_S = 60.0
_PAGE = 500
_NUMBER, _PRINCIPAL = "zimbraNotes", "carLicense"
_ATTRIBUTES = f"{_NUMBER},{_PRINCIPAL},sn,givenName,zimbraAccountStatus"


def dump(partage: Partage) -> list[Mapping[str, str]]:
    """Every account of the domain: its single-valued attributes, by name.

    Raises `SandboxError`: BSS refuses.
    """
    stamp = str(int(time.time()))
    preauth = hmac.new(partage.key.encode(), f"{partage.domain}|{stamp}".encode(), hashlib.sha1).hexdigest()
    form = {"domain": partage.domain, "timestamp": stamp, "preauth": preauth}
    token = _call(partage, "Auth", form).findtext("token")
    accounts: list[Mapping[str, str]] = []
    while True:
        page = {"limit": str(_PAGE), "offset": str(len(accounts)), "attrs": _ATTRIBUTES, "sortby": "mail"}
        found = _call(partage, f"GetAllAccounts/{token}", page).findall("accounts/account")
        if not found:
            return accounts
        accounts += [{each.tag: each.text or "" for each in account} for account in found]


def compare(
    accounts: list[Mapping[str, str]], students: Mapping[str, Student], announced: Mapping[str, Announced]
) -> Iterator[Disagreement]:
    """Accounts that are missing, too many or otherwise."""
    by_number: dict[str, list[Mapping[str, str]]] = {}
    for account in accounts:
        by_number.setdefault(account.get(_NUMBER, ""), []).append(account)
    for number in sorted(by_number.keys() - students.keys()):
        yield Disagreement(number, "partage", "has an account and is not in the registrar's file")
    for number, student in students.items():
        held, said = by_number.get(number, []), announced.get(number)
        if not student.opened:
            if held:
                yield Disagreement(number, "partage", "has an account before any enrolment is in force")
        elif said is not None and said.given("partage"):
            if len(held) == 1:
                for what in _differences(held[0], student, said):
                    yield Disagreement(number, "partage", what)
            else:
                yield Disagreement(number, "partage", f"{len(held)} accounts, one is announced")


def _differences(account: Mapping[str, str], student: Student, said: Announced) -> Iterator[str]:
    due = {
        "name": said.mail,
        _PRINCIPAL: f"{said.login}@univ-exemple.fr",
        "sn": student.family_name,
        "givenName": student.given_name,
        "zimbraAccountStatus": "active",
    }
    for name, value in due.items():
        if account.get(name) != value:
            yield f"{name} is {account.get(name)!r}, {value!r} is due"


def _call(partage: Partage, method: str, form: Mapping[str, str]) -> Element:
    trust = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(partage.ca_file)))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trust)
    body = urllib.parse.urlencode(form).encode()
    with opener.open(f"{partage.url}/{method}", body, timeout=_TIMEOUT_S) as reply:
        answer = fromstring(reply.read())  # noqa: S314  (our own stand-in's)
    if answer.findtext("status") != "0":
        raise SandboxError(f"Partage's {method.partition('/')[0]} answers: {answer.findtext('message')}")
    return answer
