"""Access links: one-time links to look at a student's page, for the support desk."""

from __future__ import annotations

from pydantic import BaseModel

from pipeline import accounts
from pipeline.errors import SesameError
from schemas.language import gettext
from sesame.acts import acts
from sesame.acts.acts import DESK, Actor, Report, act
from sesame.acts.ports import Paged


class NoAccount(SesameError):
    """There is no account of this student number, and so no page."""

    exit_code = 2


class AccessRequest(BaseModel):
    """The student whose page to open."""

    student_number: str


class AccessLink(Report):
    """A link that works once and opens the page for a while, to anyone who has it."""

    link: str


@act("access", DESK)
def access(site: Paged, actor: Actor, request: AccessRequest) -> AccessLink:
    """Make a link to view a student's page read-only.

    Raises:
        NoAccount: the student has no page.
        StoreUnavailable: the act could not be recorded, so no link was made.
    """
    number = request.student_number
    with site.database.read() as connection:
        if number not in accounts.newest(connection, [number]):
            raise NoAccount(gettext("{number} has no account", number=number))
    acts.note(site.database, actor, "access", student_number=number)
    return AccessLink(link=site.portal().access_link(number))
