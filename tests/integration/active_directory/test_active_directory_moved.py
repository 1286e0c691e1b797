"""Users whom an administrator moved: theirs wherever they are, and told where Sésame cannot shut them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ldap3.protocol.formatters.formatters import format_sid
from sqlalchemy import insert

from pipeline.target import Dead, Done, HandlerOutcome, Task
from pipeline.target_states import target_states
from sandbox.process import find_program, run_command
from sandbox.samba import Samba
from schemas.account import Hold
from sesame.acts.acts import Actor, Role
from sesame.app.wiring import Application, utc_now
from sesame.operations.questions.reconcile.acts import (
    ReconcileRequest,
    WatchRequest,
    latest,
    reconcile,
    watch,
)
from sesame.operations.questions.reconcile.comparison import TargetReport
from sesame.operations.questions.reconcile.passes import reconciliations
from sesame.testing.servers.registry_kit import LEA, PAUL, RegistryHarness
from tests.integration.active_directory.active_directory_kit import Domain, lea_and_paul, site_on

CAMILLE = Actor("camille", frozenset({Role.OPERATOR}))
TARGET = "active_directory"
NORMAL = 0x10200  # an account that is open, whose password does not expire
_ACCESS_ALONE = "bf967a68-0de6-11d0-a285-00aa003049e2"  # userAccountControl
_USER = "bf967aba-0de6-11d0-a285-00aa003049e2"


@pytest.fixture
def elsewhere(domain: Domain) -> Iterator[str]:
    """A unit that is another administrator's."""
    unit = f"OU=Partis,{domain.samba.base_dn}"
    domain.make(unit, "organizationalUnit")
    yield unit
    with domain.admin() as admin:
        for user in domain.found("(employeeID=*)"):
            admin.delete(user["dn"])
        admin.delete(unit)


@pytest.fixture
def site(samba: Samba, domain: Domain, tmp_path: Path) -> Iterator[Application]:
    assert domain.samba is samba
    with site_on(samba, tmp_path) as site:
        yield site


@pytest.fixture
def desk(site: Application) -> Iterator[RegistryHarness]:
    """Léa and Paul have users in the domain, and the pipeline knows it."""
    desk = lea_and_paul(site)
    for number in (LEA, PAUL):
        assert isinstance(turn(site, desk, number), Done)
        state = {"target": TARGET, "student_number": number, "state": "provisioned"}
        version = desk.account(number).version
        with site.database.write() as connection:
            row = {**state, "state_version": version, "applied_version": version}
            connection.execute(insert(target_states).values(**row))
    yield desk
    desk.database.close()


def turn(site: Application, desk: RegistryHarness, number: str, *, held: bool = False) -> HandlerOutcome:
    account = desk.account(number)
    if held:
        account = account.model_copy(update={"holds": frozenset({Hold.SUSPENDED})})
    with closing(site.handler(TARGET)) as handler:
        return handler.handle([Task(account)])[number]


def compared(site: Application, **given: Any) -> TargetReport:
    return reconcile(site, CAMILLE, ReconcileRequest(**given), clock=utc_now).targets[TARGET]


def moved(domain: Domain, number: str, unit: str) -> None:
    with domain.admin() as admin:
        admin.modify_dn(domain.dn(number), domain.dn(number).partition(",")[0], new_superior=unit)
    assert domain.dn(number).endswith(unit)


def control(domain: Domain, number: str) -> int:
    return int(domain.user(number)["userAccountControl"][0])


def grant(domain: Domain, unit: str, rights: str) -> None:
    """Delegate a right on a unit to the provisioner."""
    (one,) = domain.found("(sAMAccountName=provisioner)")
    sid = format_sid(one["objectSid"][0])  # type: ignore[no-untyped-call]
    database = domain.samba.folder / "private" / "sam.ldb"
    sddl = f"--sddl={rights.format(sid=sid)}"
    words = ("dsacl", "set", f"--URL={database}", f"--objectdn={unit}", sddl)
    run_command("samba-tool", [find_program("samba-tool", "samba-ad-dc"), *words], cwd=domain.samba.folder)


def test_who_is_moved_out_of_reach_differs_and_who_is_moved_within_it_does_not(
    site: Application, desk: RegistryHarness, domain: Domain, elsewhere: str
) -> None:
    within = f"OU=Sciences,{domain.samba.users_dn}"
    domain.make(within, "organizationalUnit")
    moved(domain, LEA, elsewhere)
    moved(domain, PAUL, within)
    found = compared(site)
    assert (found.moved, found.evidence) == ([LEA], {LEA: ("out_of_reach",)})
    assert found.counts() | {"moved": 0} == dict.fromkeys(found.counts(), 0)
    assert compared(site, sample=10).moved == [LEA], "a look at some shows it too"
    (last,) = latest(site, CAMILLE)
    assert (last.found["moved"], last.left["moved"]) == (1, [LEA])
    assert isinstance(turn(site, desk, PAUL, held=True), Done)
    assert control(domain, PAUL) == NORMAL | 2, "a hold shuts whoever is within reach"


def test_a_hold_that_cannot_reach_says_so_until_it_can(
    site: Application, desk: RegistryHarness, domain: Domain, elsewhere: str
) -> None:
    moved(domain, LEA, elsewhere)
    said = turn(site, desk, LEA, held=True)
    assert isinstance(said, Dead)
    assert said.cause == "out_of_reach"
    assert control(domain, LEA) == NORMAL
    with site.database.write() as connection:
        connection.execute(target_states.update().values(state="failed", reason="out_of_reach"))
    assert compared(site).moved == [LEA], "what has failed already is still open"

    grant(domain, elsewhere, f"(OA;CIIO;RPWP;{_ACCESS_ALONE};{_USER};{{sid}})")
    assert isinstance(turn(site, desk, LEA, held=True), Done)
    assert control(domain, LEA) == NORMAL | 2
    assert compared(site).moved == [LEA], "its name could not be changed there"
    grant(domain, elsewhere, f"(OA;CIIO;RPWP;;{_USER};{{sid}})")
    assert compared(site).moved == []


def test_a_move_is_noticed_by_day_and_leaves_the_list_when_it_is_undone(
    site: Application, desk: RegistryHarness, domain: Domain, elsewhere: str
) -> None:
    assert desk.account(LEA).access_open

    def look() -> TargetReport | None:
        with site.database.write() as connection:
            connection.execute(reconciliations.update().values(looked_at=0.0))
        return watch(site, CAMILLE, WatchRequest(target=TARGET), clock=utc_now)

    assert look() is None
    moved(domain, LEA, elsewhere)
    news = look()
    assert news is not None
    assert (news.moved, news.missing, news.different) == ([LEA], [], [])
    moved(domain, LEA, domain.samba.users_dn)
    look()
    (last,) = latest(site, CAMILLE)
    assert last.found["moved"] == 0
    assert last.left["moved"] == []
