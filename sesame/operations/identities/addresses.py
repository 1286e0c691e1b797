"""The minted addresses, for software that takes a file."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from consumers.kit.connector import MAIL_ROLE
from consumers.propagation.rows import propagation_targets
from pipeline.accounts import COUNTED, LIVE, accounts
from pipeline.target_states import State
from schemas.account import Account
from sesame.acts.acts import OPERATORS, Actor, ActRequest, Report, act, shown, utc
from sesame.acts.ports import Configured, target_in_role


class AddressesRequest(ActRequest):
    """Whose addresses. `since`: whose mailbox was written since then, in epoch seconds; None: everybody's."""

    since: float | None = None


class WrittenAddress(Report):
    """A student's address. `at`: when the mailbox was last found as it should be."""

    student_number: str
    mail: str
    at: datetime


@act("ledger.addresses", OPERATORS, shows=lambda found, _asked: shown(one.student_number for one in found))
def addresses(site: Configured, _actor: Actor, request: AddressesRequest) -> tuple[WrittenAddress, ...]:
    """The address of each student who has a mailbox, by number."""
    mailbox = target_in_role(site.settings, MAIL_ROLE)
    outcome = propagation_targets.c
    query = (
        select(outcome.student_number, outcome.finished_at, accounts.c.document)
        .join(accounts, accounts.c.student_number == outcome.student_number)
        .where(outcome.target == mailbox, outcome.state == State.PROVISIONED, *LIVE, COUNTED)
        .where(outcome.finished_at >= (request.since or 0.0))
        .order_by(outcome.student_number)
    )
    with site.database.read() as connection:
        told = [(row, Account.model_validate_json(row.document)) for row in connection.execute(query)]
    return tuple(
        WrittenAddress(student_number=account.student_number, mail=account.mail, at=utc(row.finished_at))
        for row, account in told
        if not account.at(mailbox).lacks_target
    )
