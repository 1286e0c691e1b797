"""New names for an account whose login and address were minted from damaged ones."""

from __future__ import annotations

from sqlalchemy import Connection

from consumers.registry.account import shown_person
from consumers.registry.identity import LOGIN, MAIL, Templates
from consumers.registry.ledger import SEEN, SqlLedger
from consumers.registry.people import KnownPerson, People
from pipeline import accounts
from pipeline.db.database import Database
from pipeline.errors import SesameError
from schemas.account import Account
from schemas.events import IdentityDecision
from schemas.language import gettext
from sesame.acts.acts import OFFICE, Actor, act
from sesame.acts.ports import Registering
from sesame.operations.identities.acts import Decided, DoubtDecisionRequest, decided


class NotMintedAgain(SesameError):
    """The names of this account stay as they are."""


@act("identity.mint_again", OFFICE)
def mint_again(site: Registering, actor: Actor, request: DoubtDecisionRequest) -> Decided:
    """Give an account new names, since the present ones came from damaged input.

    Raises:
        NotMintedAgain: it cannot be done, or would change nothing.
        LogUnavailable: it may have been published already; repeating it is harmless.
    """
    number, database = request.student_number, site.database
    with database.read() as connection:
        person = People(database).known(connection, number)
        account = accounts.find(connection, number)
        if person is None or account is None:
            raise NotMintedAgain(
                gettext("{number!r} has no account", number=number),
                remedy=gettext("Check the number: `sesame identities` takes it as the registrar writes it."),
            )
        _refuse_what_was_seen(connection, database, person, account)
    templates = Templates(shown_person(person), number, site.settings.registry)
    login = templates.login()
    names = {"number": number, "login": account.login, "mail": account.mail}
    new = {"new_login": login, "new_mail": templates.address(MAIL, login)}
    if (account.login, account.mail) == tuple(new.values()):
        raise NotMintedAgain(
            gettext("the names of {number} give {login} and {mail} again", **names),
            remedy=gettext(
                "Have the registrar correct the names, import the file, and see whether `sesame "
                "identities show {number}` asks about it; then mint again.",
                number=number,
            ),
        )
    text = gettext(
        "{number}: {login} and {mail} are put out of use for ever; "
        "{new_login} and {new_mail} come instead (or the like, if somebody has them)",
        **names,
        **new,
    )
    return decided(site, actor, request, number, None, IdentityDecision.MINT_AGAIN, text)


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
