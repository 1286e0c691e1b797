"""New names for an account whose login and address were minted from damaged ones."""

from __future__ import annotations

from sqlalchemy import Connection

from consumers.registry.account import shown_person
from consumers.registry.identity import LOGIN, MAIL, Templates
from consumers.registry.ledger import SEEN, SqlLedger
from consumers.registry.people import KnownPerson, People
from consumers.registry.settings import RegistrySettings
from pipeline import accounts
from pipeline.db.database import Database
from pipeline.errors import SesameError
from schemas.account import Account
from schemas.events import IdentityDecision
from schemas.language import gettext
from sesame.acts.acts import OFFICE, Actor, Report, act
from sesame.acts.ports import Registering
from sesame.operations.identities.acts import Decided, DoubtDecisionRequest, decided


class NotMintedAgain(SesameError):
    """The names of this account stay as they are."""


class Minting(Report):
    """An account's names, and those minted for it now (a counter may be appended)."""

    login: str
    mail: str
    new_login: str
    new_mail: str


@act("identity.mint_again", OFFICE)
def mint_again(site: Registering, actor: Actor, request: DoubtDecisionRequest) -> Decided:
    """Give an account new names, since the present ones came from damaged input.

    Raises:
        NotMintedAgain: it cannot be done, or would change nothing.
        LogUnavailable: it may have been published already; repeating it is harmless.
    """
    number = request.student_number
    found = minting(site.database, number, site.settings.registry)
    text = gettext(
        "{number}: {login} and {mail} are put out of use for ever; "
        "{new_login} and {new_mail} come instead (or the like, if somebody has them)",
        number=number,
        **found.model_dump(),
    )
    return decided(site, actor, request, number, None, IdentityDecision.MINT_AGAIN, text)


def minting(database: Database, student_number: str, settings: RegistrySettings) -> Minting:
    """What minting this account again would change.

    Raises:
        NotMintedAgain: it cannot be, or would change nothing: why, and what to do.
    """
    people = People(database)
    with database.read() as connection:
        person, account = people.known(connection, student_number), accounts.find(connection, student_number)
        if person is None or account is None:
            raise NotMintedAgain(
                gettext("{number!r} has no account", number=student_number),
                remedy=gettext("Check the number: `sesame identities` takes it as the registrar writes it."),
            )
        _refuse_what_was_seen(connection, database, person, account)
    names = Templates(shown_person(person), student_number, settings)
    found = Minting(
        login=account.login,
        mail=account.mail,
        new_login=names.login(),
        new_mail=names.address(MAIL, names.login()),
    )
    if (found.login, found.mail) == (found.new_login, found.new_mail):
        raise NotMintedAgain(
            gettext(
                "the names of {number} give {login} and {mail} again",
                number=student_number,
                login=found.login,
                mail=found.mail,
            ),
            remedy=gettext(
                "Have the registrar correct the names, import the file, and see whether `sesame "
                "identities show {number}` asks about it; then mint again.",
                number=student_number,
            ),
        )
    return found


def _refuse_what_was_seen(
    connection: Connection, database: Database, person: KnownPerson, account: Account
) -> None:
    number = person.student_number
    if person.activated_at is not None:
        raise NotMintedAgain(
            gettext(
                "the account of {number} has been activated: {login} is known, and stays",
                number=number,
                login=account.login,
            ),
            remedy=gettext(
                "Have the registrar correct the names and import the file: what is shown follows, and the "
                "mail address as `registry.rename` says."
            ),
        )
    holder = SqlLedger(connection, database, 0.0).holders([(LOGIN, account.login)])[LOGIN, account.login]
    if holder.origin in SEEN:
        raise NotMintedAgain(
            gettext(
                "{login} was not minted: it was found in the {origin}, and is in use there",
                login=account.login,
                origin=holder.origin,
            ),
            remedy=gettext("If it is to change, change it there."),
        )
