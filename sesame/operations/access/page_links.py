"""Access: a link by which a student's page may be looked at once, for the support desk."""

from __future__ import annotations

from pydantic import BaseModel

from pipeline import accounts
from pipeline.errors import SesameError
from schemas.language import gettext
from sesame.acts import acts
from sesame.acts.acts import Actor, Report, act
from sesame.acts.ports import Paged


class NoAccount(SesameError):
    """There is no account of this student number, and so no page."""

    exit_code = 2


class AccessRequest(BaseModel):
    """To whose page."""

    student_number: str


class AccessLink(Report):
    """Works once, and then shows the page for a while; whoever follows it sees the page."""

    link: str


@act("access")
def access(site: Paged, actor: Actor, request: AccessRequest) -> AccessLink:
    """Make a link by which the student's page may be looked at, and nothing be changed.

    Raises:
        NoAccount: there is no page to be looked at.
        StoreUnavailable: it was not noted, and is not made.
    """
    number = request.student_number
    with site.database.read() as connection:
        if number not in accounts.newest(connection, [number]):
            raise NoAccount(gettext("{number} has no account", number=number))
    acts.note(site.database, actor, "access", student_number=number)
    return AccessLink(link=site.portal().access_link(number))
