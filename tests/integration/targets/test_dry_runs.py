"""A dry run says beforehand what the turn then answers, and nothing any more once the remedy was applied.

The oracle is the turn itself, on the real server: whatever it answers, the preview before it must have named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.target import Dead, Done, Handler, HandlerOutcome, Preview, Retry, Task, Waiting
from pipeline.vault import SealBroken
from sandbox.moodle import MoodleStandIn
from sandbox.slapd import Slapd
from schemas.account import Account, Membership, Requirement
from sesame.testing.servers import directory_kit, moodle_kit
from sesame.testing.servers.ldap_tools import as_provisioner
from sesame.testing.servers.mailbox_kit import DovecotHarness
from sesame.testing.servers.moodle_kit import Handlers, Operator, cohort

ELODIE = "22600001"
LOGIN = f"elodie.lefevre{ELODIE}"
Remedy = Callable[[], object]


def foreseen(handler: Handler, wanted: Account) -> Preview:
    return handler.preview([wanted])[wanted.student_number]


def turn(handler: Handler, wanted: Account) -> HandlerOutcome:
    return handler.handle([Task(wanted)])[wanted.student_number]


def said(outcome: HandlerOutcome) -> str:
    """The cause or reason of an outcome; empty: done."""
    match outcome:
        case Dead(cause, _) | Retry(cause, _):
            return cause
        case Waiting(reason):
            return reason
    assert isinstance(outcome, Done)
    return ""


def before_and_after(handler: Handler, wanted: Account, cause: str, remedy: Remedy | None) -> None:
    """The dry run names the cause, the turn answers it; after the remedy neither does."""
    first = foreseen(handler, wanted)
    assert first.obstacle == cause
    assert foreseen(handler, wanted) == first, "a dry run changes nothing"
    assert said(turn(handler, wanted)) == cause
    assert foreseen(handler, wanted).obstacle == cause, "and after the turn as before it"
    if remedy is not None:
        remedy()
        assert foreseen(handler, wanted).obstacle == ""
        assert said(turn(handler, wanted)) == ""
        assert foreseen(handler, wanted) == Preview()


# --- Moodle -------------------------------------------------------------------------------------------


@pytest.fixture
def moodles(moodle: MoodleStandIn) -> Iterator[Handler]:
    handlers = Handlers(moodle)
    yield handlers()
    handlers.close()


def username_taken(operator: Operator) -> Remedy:
    holder = operator.create_user(LOGIN)
    return lambda: operator.update_user(holder, idnumber=ELODIE)


def email_taken(operator: Operator) -> Remedy:
    holder = operator.create_user("compte.manuel", email=f"{LOGIN}@etu.univ-exemple.fr".upper())
    return lambda: operator.update_user(holder, email="autre@ailleurs.example")


def login_of_a_present_user_taken(operator: Operator) -> Remedy:
    operator.create_user("ancienne", idnumber=ELODIE)
    holder = operator.create_user(LOGIN)
    return lambda: operator.update_user(holder, username="renomme")


def email_of_a_present_user_taken(operator: Operator) -> Remedy:
    operator.create_user("ancienne", idnumber=ELODIE)
    return email_taken(operator)


def two_users_with_the_number(operator: Operator) -> Remedy:
    operator.create_user("premier", idnumber=ELODIE)
    second = operator.create_user("second", idnumber=ELODIE)
    return lambda: operator.update_user(second, idnumber="")


def cohort_in_other_capitals(operator: Operator) -> Remedy:
    wrong = operator.create_cohort("l1info-2026")
    return lambda: operator.delete_cohort(wrong)


@pytest.mark.parametrize(
    ("arrange", "cause"),
    [
        (username_taken, "moodle_username_taken"),
        (email_taken, "moodle_email_taken"),
        (login_of_a_present_user_taken, "moodle_username_taken"),
        (email_of_a_present_user_taken, "moodle_email_taken"),
        (two_users_with_the_number, "student_number_ambiguous"),
        (cohort_in_other_capitals, "moodle_cohort_conflict"),
    ],
)
def test_what_stands_in_the_way_at_moodle_is_an_obstacle_until_it_is_mended(
    moodles: Handler, operator: Operator, arrange: Callable[[Operator], Remedy], cause: str
) -> None:
    remedy = arrange(operator)
    before_and_after(moodles, moodle_kit.account(ELODIE, cohort("L1INFO")), cause, remedy)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"cohorts": (cohort("L1" + "X" * 100),)}, "moodle_cohort_refused"),
        ({"login": "Élodie"}, "moodle_login_invalid"),
        ({"mail": "élodie@etu.univ-exemple.fr"}, "moodle_email_invalid"),
    ],
)
def test_what_moodle_never_takes_is_an_obstacle(
    moodles: Handler, changes: dict[str, Any], cause: str
) -> None:
    before_and_after(moodles, moodle_kit.account(ELODIE, **changes), cause, None)


def test_sixty_students_in_the_way_of_one_cohort_are_sixty_obstacles(
    moodles: Handler, operator: Operator
) -> None:
    wrong = operator.create_cohort("l1info-2026")
    crowd = [moodle_kit.account(each, cohort("L1INFO")) for each in moodle_kit.numbers(60)]
    found = moodles.preview(crowd)
    assert {preview.obstacle for preview in found.values()} == {"moodle_cohort_conflict"}
    operator.delete_cohort(wrong)
    assert {preview.obstacle for preview in moodles.preview(crowd).values()} == {""}


def test_one_address_that_two_users_share_already_is_no_obstacle(tmp_path: Path) -> None:
    with MoodleStandIn(tmp_path / "permissive", allow_accounts_same_email=True) as moodle:
        handlers, operator = Handlers(moodle), Operator(moodle)
        for name in ("compte.manuel", "autre.compte"):
            operator.create_user(name, email=f"{LOGIN}@etu.univ-exemple.fr")
        before_and_after(handlers(), moodle_kit.account(ELODIE), "", None)
        handlers.close()


# --- the directory ------------------------------------------------------------------------------------


@dataclass
class Place:
    """A consumer on the shared directory, and what a test needs of it."""

    slapd: Slapd
    consumer: directory_kit.Consumer

    def add(self, login: str, **attributes: str) -> str:
        """Somebody else's entry; its name."""
        dn = f"uid={login},{self.slapd.people_dn}"
        lines = [
            f"dn: {dn}",
            "objectClass: inetOrgPerson",
            "objectClass: supannPerson",
            "objectClass: eduPerson",
        ]
        lines += [f"{name}: {value}" for name, value in {"cn": "X", "sn": "X", **attributes}.items()]
        as_provisioner(self.slapd, "ldapadd", stdin="\n".join(lines) + "\n")
        return dn

    def remove(self, dn: str) -> None:
        as_provisioner(self.slapd, "ldapdelete", dn)


@pytest.fixture
def place(slapd: Slapd) -> Iterator[Place]:
    consumer = directory_kit.Consumer(slapd)
    yield Place(slapd, consumer)
    consumer.directory.disconnect()


@pytest.mark.parametrize("there", [False, True], ids=["new", "present"])
@pytest.mark.parametrize(
    ("attribute", "field", "cause"),
    [
        ("mail", "mail", "mail_taken"),
        ("supannAutreMail", "mail", "mail_taken"),
        ("eduPersonPrincipalName", "principal", "principal_taken"),
    ],
)
def test_a_value_that_another_entry_has_is_an_obstacle_until_it_is_mended(
    place: Place, attribute: str, field: str, cause: str, *, there: bool
) -> None:
    wanted = directory_kit.account()
    if there:
        assert isinstance(place.consumer.bring(wanted), Done)
        other = f"autre.{wanted.student_number}@univ-exemple.fr"
        wanted = wanted.model_copy(update={"version": 2, field: other})
    theirs = place.add(f"tiers{wanted.student_number}", **{attribute: getattr(wanted, field)})
    before_and_after(place.consumer.handler, wanted, cause, lambda: place.remove(theirs))


def test_a_login_that_another_entry_has_is_an_obstacle_until_it_is_mended(place: Place) -> None:
    wanted = directory_kit.account()
    theirs = place.add(wanted.login)
    before_and_after(place.consumer.handler, wanted, "identity_collision", lambda: place.remove(theirs))


def test_a_password_that_nobody_has_any_more_is_an_obstacle(place: Place) -> None:
    wanted = directory_kit.account(credential_ref="gone")
    before_and_after(place.consumer.handler, wanted, "credential_needed", None)


def test_a_password_that_the_key_does_not_open_is_an_obstacle(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_ref: str) -> str:
        raise SealBroken

    monkeypatch.setattr(place.consumer.vault, "open", broken)
    wanted = directory_kit.account(credential_ref="sealed")
    before_and_after(place.consumer.handler, wanted, "seal_broken", None)


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_a_group_of_somebody_else_is_an_obstacle_until_it_is_mended(place: Place, *, static: bool) -> None:
    slapd, wanted = place.slapd, directory_kit.account()
    group = Membership(
        key=f"etape-{wanted.student_number}", name="Étape", requires=Requirement.ADMINISTRATIVE, met=True
    )
    dn = f"cn={group.key},{slapd.groups_dn}"
    as_provisioner(slapd, "ldapadd", stdin=f"dn: {dn}\ncn: {group.key}\nobjectClass: organizationalRole\n")
    directory = directory_kit.directory_of(slapd, group_kind="static" if static else "dynamic")
    handler = directory.handler()
    with_group = wanted.model_copy(update={"groups": (group,)})
    before_and_after(handler, with_group, "group_not_ours", lambda: place.remove(dn))
    directory.disconnect()


# --- mailboxes ----------------------------------------------------------------------------------------


def test_a_user_whom_the_directory_has_not_enabled_is_an_obstacle_until_it_is_mended(
    desk: DovecotHarness,
) -> None:
    lea = desk.student("lea.dubois", enabled=False)
    before_and_after(
        desk.handler(),
        lea.account,
        "mailbox_not_enabled",
        lambda: desk.office.change("lea.dubois", sesameMailEnabled=["TRUE"]),
    )


def test_a_quota_that_is_not_the_directorys_is_an_obstacle(desk: DovecotHarness) -> None:
    marie = desk.student("marie.nguyen", sesameMailQuota="52428800")
    before_and_after(desk.handler(), marie.account, "read_back_differs", None)
