"""Write each student's address back to Pégase, never over a correction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote

from consumers.kit.connector import (
    MAIL_ROLE,
    Change,
    Connector,
    ConnectorContext,
    ConnectorUnusable,
    Held,
    Refused,
    RegistrarApi,
    Seen,
    TargetObject,
    Wanted,
    one_by_one,
)
from consumers.kit.deadline import Deadline
from consumers.kit.http_answers import HttpAnswer
from consumers.kit.reasons import Reason, read_reasons
from consumers.pegase_mail.settings import PegaseMailSettings
from pipeline.errors import Misconfigured, TargetDown
from schemas.account import Account, is_students
from schemas.language import Language

PROBE: Final = "sesame-probe"
"""A student code that does not exist, for the probe's call."""

_LIST: Final = "/api/idt/ext/v1/etablissements/{establishment}/identites/apprenants"
_MAIL: Final = "/api/idt/ext/v1/etablissements/{establishment}/identite/{id}/courriel-institutionnel"
_ERROR: Final = HTTPStatus.INTERNAL_SERVER_ERROR
_ATTEMPTS: Final = 3
_REFUSALS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class PegaseMailConnector(Connector[PegaseMailSettings]):
    """`courriel-institutionnel` of each identity."""

    section = PegaseMailSettings
    title: ClassVar[Mapping[Language, str]] = {
        "fr": "Votre adresse dans Pégase",
        "en": "Your address in Pégase",
    }
    level = "gold"
    lacks: ClassVar[Mapping[str, str]] = {
        "close": "an address is no access",
        "objects": "identities are read one by one",
        "erase": "identities are the registrar's",
        "stranger": "identities are found by their number alone",
        "refuse": "a form that is refused is never sent",
        "changes_since": "the API lists no changes",
    }
    follows = MAIL_ROLE
    owns = ("mail",)
    keeps = ("the institutional address, which Pégase keeps with the person",)
    reasons: ClassVar[Mapping[str, Reason]] = read_reasons(Path(__file__).with_name("reasons.toml"))

    def __init__(self, context: ConnectorContext[PegaseMailSettings]) -> None:
        super().__init__(context)
        from consumers.kit.http import HttpClient

        if context.site.registrar is None or not context.site.registrar.establishments:
            raise ConnectorUnusable(
                "pegase_mail does not know where Pégase is",
                remedy="Set pegase.url_file, and pegase.periods with each establishment, e.g. "
                "{ETAB00 = []}: see docs/how-to/connect-pegase.md.",
            )
        self._registrar: RegistrarApi = context.site.registrar
        self._http = HttpClient(context, service="Pégase")

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`. Pégase keeps the address of a closed account, as it keeps the person."""
        mailbox = account.at(self.context.site.mail_target or self.name)
        has = _is_known(account) and mailbox.access_open
        return Wanted({"mail": (account.mail,)} if has else {})

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`: those with access."""
        accepted = self.adopted_refs([account.student_number for account in accounts])
        return one_by_one(accounts, deadline, lambda account: self._look(account, accepted, deadline))

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.apply`."""
        return one_by_one(changes, deadline, lambda change: self._write(change, deadline))

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:  # noqa: ARG002
        """See `Connector.close`: an address is no access."""
        return {}

    def probe(self) -> None:
        """See `Connector.probe`."""
        deadline = Deadline.after(self.settings.verb_s_max, self.context.monotonic)
        for establishment in self._registrar.establishments:
            list(self._identities(establishment, PROBE, deadline))

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._http.disconnect()

    def _look(self, account: Account, accepted: Collection[str], deadline: Deadline) -> Seen:
        if not _is_known(account):
            return ()
        found = [
            (f"{establishment}/{one['id']}", one)
            for establishment in self._registrar.establishments
            for one in self._identities(establishment, account.student_number, deadline)
        ]
        if not found:
            return Held("pegase_unknown")
        is_accepted = account.student_number in accepted
        return [_shown(ref, one, account, accepted=is_accepted) for ref, one in found]

    def _write(self, change: Change, deadline: Deadline) -> Refused | None:
        assert change.found is not None  # noqa: S101 (who is not there waits)
        establishment, _, id_ = change.found.ref.partition("/")
        [mail] = change.fields["mail"]
        path = _MAIL.format(establishment=establishment, id=quote(id_, safe=""))
        answer = self._call("POST", path, deadline, {"emailInstitutionnel": mail})
        if answer.ok:
            return None
        return Refused("pegase_refused", f"Pégase answers {answer.status}", unknown=answer.status >= _ERROR)

    def _identities(self, establishment: str, number: str, deadline: Deadline) -> Iterator[Mapping[str, Any]]:
        asked = {"codeApprenant": number, "exact": "true", "page": "0", "taille": "10"}
        answer = self._call("GET", _LIST.format(establishment=establishment), deadline, asked)
        if not answer.ok:
            raise _trouble(answer)
        told = answer.json()
        found = told.get("items", told.get("resultats")) if isinstance(told, dict) else None
        if not isinstance(found, list):
            raise TargetDown("idt answers with no page of identities")
        for one in found:
            if isinstance(one, dict) and one.get("codeApprenant") == number and one.get("id"):
                yield one

    def _call(self, method: str, path: str, deadline: Deadline, params: Mapping[str, str]) -> HttpAnswer:
        """Call `idt`; repeat it at once after an odd answer, which may be a single one."""
        token = self._registrar.token()
        answer = self._ask(method, path, deadline, params, token)
        for _ in range(_ATTEMPTS - 1):
            if answer.status in _REFUSALS:  # the token may have expired
                token = self._registrar.token(refused=token)
            elif answer.status < _ERROR and (method != "GET" or _is_json(answer)):
                break
            answer = self._ask(method, path, deadline, params, token)
        return answer

    def _ask(
        self, method: str, path: str, deadline: Deadline, params: Mapping[str, str], token: str
    ) -> HttpAnswer:
        return self._http.call(
            method,
            self._registrar.address("idt") + path,
            deadline,
            params=params,
            headers={"Authorization": f"Bearer {token}"},
            again=True,  # the same address again changes nothing
            expect=_REFUSALS,
        )


def _is_known(account: Account) -> bool:
    """Whether Pégase has this person, who has access: it knows students alone."""
    return account.access_open and is_students(account.student_number)


def _shown(ref: str, one: Mapping[str, Any], account: Account, *, accepted: bool) -> TargetObject:
    """An identity as it is. An address that was never this student's is a correction.

    `accepted`: an operator let that address stand: it counts as the one that is wanted.
    """
    mail = one.get("courrielInstitutionnel") or ""
    own = {each.casefold(): each for each in (*account.aliases, account.mail)}
    theirs = bool(mail) and mail.casefold() not in own
    held = Held("pegase_corrected", fields=("mail",)) if theirs and not accepted else None
    shown = account.mail if theirs and accepted else own.get(mail.casefold(), mail)
    return TargetObject(ref, account.student_number, {"mail": (shown,) if shown else ()}, held=held)


def _is_json(answer: HttpAnswer) -> bool:
    try:
        answer.json()
    except TargetDown:
        return False
    return True


def _trouble(answer: HttpAnswer) -> TargetDown | Misconfigured:
    said = f"idt answers {answer.status}"
    if answer.status >= _ERROR:
        return TargetDown(said, unknown=False)
    if answer.status in _REFUSALS:
        return Misconfigured(
            said, remedy="Give the account of pegase.url_file the right to identities (idt)."
        )
    return Misconfigured(said, remedy="Check the establishments of pegase.periods.")
