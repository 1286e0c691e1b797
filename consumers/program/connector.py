"""A connector in any language: the verbs, sent to a program or an endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from consumers.kit.connector import Change, Connector, ConnectorContext, Refused, Seen, TargetObject, Wanted
from consumers.kit.deadline import Deadline
from consumers.kit.reasons import Reason, reason
from consumers.program.exchange import exchange_of
from consumers.program.lines import (
    HELD,
    REFUSED,
    account_line,
    change_line,
    objects_of,
    ref_line,
    refused_of,
    seen_of,
    values_of,
)
from consumers.program.settings import ProgramSettings
from pipeline.target import Description
from schemas.account import Account
from schemas.language import Language


class ProgramConnector(Connector[ProgramSettings]):
    """Sends the verbs to a program or endpoint. It need not know our log, leases or retries."""

    section = ProgramSettings
    title: ClassVar[Mapping[Language, str]] = {"fr": "Un autre service", "en": "Another service"}
    level = "gold"
    lacks: ClassVar[Mapping[str, str]] = {
        "changes_since": "the contract has no such verb",
    }
    owns = ()
    reasons: ClassVar[Mapping[str, Reason]] = {
        REFUSED: reason(
            "dead",
            fr=(
                "Le service refuse les données de cet étudiant.",
                "Le message en donne la raison : l'équipe informatique corrige, puis relance.",
            ),
            en=(
                "The service refuses this student's data.",
                "The message says why: an operator mends it, then replays.",
            ),
        ),
        HELD: reason(
            "waiting",
            fr=(
                "Le service n'est pas encore prêt pour cet étudiant.",
                "Une nouvelle vérification a lieu d'elle-même.",
            ),
            en=("The service is not ready for this student yet.", "It is looked at again by itself."),
            held_back=True,
        ),
    }

    def __init__(self, context: ConnectorContext[ProgramSettings]) -> None:
        super().__init__(context)
        self._exchange = exchange_of(context)

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`."""
        return Wanted({name: values_of(account, name) for name in self.settings.fields})

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`."""
        answer = self._exchange.ask("read", [account_line(each) for each in accounts], deadline)
        return seen_of(answer, {account.student_number for account in accounts})

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.apply`."""
        return self._write("apply", changes, deadline)

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.close`."""
        return self._write("close", changes, deadline)

    def objects(self) -> Iterator[TargetObject]:
        """See `Connector.objects`."""
        return objects_of(self._exchange.ask("objects", [], Deadline.after(self.settings.call_s_max)))

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.erase`."""
        answer = self._exchange.ask("erase", [ref_line(each) for each in found], deadline)
        return refused_of(answer, {each.ref for each in found}, "ref")

    def probe(self) -> None:
        """See `Connector.probe`."""
        for _ in self._exchange.ask("probe", [], Deadline.after(self.settings.verb_s_max)):
            pass

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._exchange.disconnect()

    def describe(self) -> Description:
        """See `Connector.describe`: the settings list what it keeps."""
        return Description(self.name, self.settings.system, self.settings.fields)

    def _write(self, verb: str, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        answer = self._exchange.ask(verb, [change_line(each) for each in changes], deadline)
        return refused_of(answer, {each.account.student_number for each in changes}, "student_number")
