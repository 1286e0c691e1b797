"""Users who are in the domain before Sésame: adopted as they are, and a homonym is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.target import Dead, Done, HandlerOutcome, Task, Waiting
from sandbox.samba import Samba
from sesame.acts.acts import Actor, Role
from sesame.app.wiring import Application, utc_now
from sesame.operations.questions.adoption.acts import (
    AdoptionRequest,
    AnswerRequest,
    QuestionsRequest,
    adopt,
    decide,
    questions,
)
from sesame.operations.questions.adoption.adoptions import AdoptionAnswer
from sesame.operations.questions.adoption.run import AdoptionReport
from sesame.testing.servers.registry_kit import LEA, PAUL, RegistryHarness
from tests.integration.active_directory.active_directory_kit import Domain, lea_and_paul, site_on

CAMILLE = Actor("camille", frozenset({Role.OPERATOR}))
NUMBERS = {LEA: "lea.martin", PAUL: "paul.durand"}


@pytest.fixture
def site(samba: Samba, domain: Domain, tmp_path: Path) -> Iterator[Application]:
    """The domain has users of both logins: Léa's, and Jean Durand's."""
    domain.make(
        f"CN=Léa MARTIN,{samba.users_dn}",
        sAMAccountName="Lea.Martin",
        sn="MARTIN",
        givenName="Léa",
        title="Étudiante",
    )
    domain.make(f"CN=P.Durand,{samba.users_dn}", sAMAccountName="paul.durand", sn="Durand", givenName="Jean")
    with site_on(samba, tmp_path) as site:
        yield site


@pytest.fixture
def desk(site: Application) -> Iterator[RegistryHarness]:
    """Léa and Paul have active accounts."""
    desk = lea_and_paul(site)
    for number, login in NUMBERS.items():
        assert desk.account(number).login == login
    yield desk
    desk.database.close()


def carried_out(site: Application) -> AdoptionReport:
    return adopt(site, CAMILLE, AdoptionRequest(), clock=utc_now, progress=lambda _step: None)


def outcomes(site: Application, desk: RegistryHarness) -> dict[str, HandlerOutcome]:
    """A turn of each."""
    with closing(site.handler("active_directory")) as handler:
        return dict(handler.handle([Task(desk.account(number)) for number in NUMBERS]))


def test_a_user_made_by_hand_is_adopted_and_a_homonym_stays_as_it_is(
    site: Application, desk: RegistryHarness, domain: Domain
) -> None:
    (hers,) = domain.found("(sAMAccountName=lea.martin)")
    (his,) = domain.found("(sAMAccountName=paul.durand)")
    for one in outcomes(site, desk).values():
        assert isinstance(one, Dead)
        assert one.cause == "identity_collision"

    found = carried_out(site)
    assert found.questions == {"idnumber_empty": 1, "ledger_active": 1}
    assert all(isinstance(each, Waiting) for each in outcomes(site, desk).values()), "nobody decided yet"
    answer = AnswerRequest(kind="idnumber_empty", answer=AdoptionAnswer.LINKED, reason="seen at the desk")
    assert decide(site, CAMILLE, answer).decided == 1
    assert carried_out(site).standings["active_directory"]["match"] == 1
    (left,) = questions(site, CAMILLE, QuestionsRequest())
    assert (left.kind, left.student_number) == ("ledger_active", PAUL)

    said = outcomes(site, desk)
    assert isinstance(said[LEA], Done)
    assert isinstance(said[PAUL], Waiting)
    (now,) = domain.found(f"(employeeID={LEA})")
    assert (now["objectGUID"], now["objectSid"]) == (hers["objectGUID"], hers["objectSid"])
    assert (now["title"], now["mail"]) == (["Étudiante".encode()], [b"lea.martin@etu.univ-exemple.fr"])
    assert domain.found("(sAMAccountName=paul.durand)") == [his]
    assert domain.found(f"(employeeID={PAUL})") == []

    again = carried_out(site)
    assert again.questions == {"ledger_active": 1}
    unchanged = outcomes(site, desk)[LEA]
    assert isinstance(unchanged, Done)
    assert not unchanged.changed
