"""Doubtful identities: what is held, what an operator decides, and that it is remembered."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from consumers.registry import identity_doubts as store
from consumers.registry import pending_facts
from consumers.registry.doubts import fingerprints, recognised
from consumers.registry.identity_doubts import Doubt, Verdict
from consumers.registry.ledger import SqlLedger
from consumers.registry.people import Identity
from pipeline.facts import Rejected
from pipeline.timers import run_due
from schemas.account import Administrative, Hold, Pedagogical, Stage
from schemas.events import (
    Cause,
    CredentialChanged,
    Event,
    HoldLifted,
    HoldPlaced,
    IdentityDecided,
    IdentityDecision,
    Preference,
    PreferenceChanged,
)
from sesame.testing.servers.registry_kit import (
    LEA,
    PAUL,
    START,
    RegistryHarness,
    activation,
    cancelled,
    enrolled,
)

OTHER = "22009999"
INE = "0123456789A"


def merge(number: str, into: str | None = None) -> IdentityDecided:
    return IdentityDecided(student_number=number, other=into, decision=IdentityDecision.MERGE)


def separate(number: str, other: str | None = None) -> IdentityDecided:
    return IdentityDecided(student_number=number, other=other, decision=IdentityDecision.SEPARATE)


def doubts(desk: RegistryHarness, number: str = PAUL, *states: Verdict) -> list[Doubt]:
    with desk.database.read() as connection:
        return store.of(connection, number, states or (Verdict.OPEN,))


def steps(desk: RegistryHarness, number: str = LEA) -> set[str]:
    return {enrolment.step for enrolment in desk.account(number).enrolments}


def in_doubt(desk: RegistryHarness, **second: Any) -> None:
    """Léa, and the same person again under Paul's number, in another step."""
    desk.apply(enrolled(LEA))
    desk.apply(enrolled(PAUL, 2, **{"step": "M1DROIT", "component": "DRT", **second}))


def test_an_ine_that_is_taken_back_frees_who_was_in_doubt_for_it(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA, ine=INE))
    desk.apply(enrolled(PAUL, 2, birth_name="Durand", given_name="Paul", ine=INE))
    assert [doubt.evidence for doubt in doubts(desk)] == [("ine",)]
    desk.apply(enrolled(LEA, 3))
    assert doubts(desk) == []
    assert desk.account(PAUL).holds == frozenset()


# --- two people -----------------------------------------------------------------------------------------


def test_a_doubt_shows_whom_and_what_agrees(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA, ine=INE))
    desk.apply(enrolled(PAUL, ine=INE))
    [doubt] = doubts(desk)
    assert (doubt.student_number, doubt.other_number, doubt.evidence) == (PAUL, LEA, ("birth", "ine"))


def test_two_people_who_are_told_apart_both_have_an_account(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(separate(PAUL, LEA))
    assert (desk.account(LEA).login, desk.account(PAUL).login) == ("lea.martin", "lea.martin2")
    assert desk.account(PAUL).holds == frozenset()
    assert desk.announced(PAUL)[-1][1].cause is Cause.IDENTITY
    assert desk.letters(PAUL) == []


def test_two_people_with_one_ine_are_told_apart_too(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA, ine=INE))
    desk.apply(enrolled(PAUL, birth_name="Durand", given_name="Paul", ine=INE))
    assert desk.maybe_account(PAUL) is None
    desk.apply(separate(LEA, PAUL))
    assert desk.account(PAUL).login == "paul.durand"


def test_what_was_decided_is_never_asked_again(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(separate(PAUL, LEA))
    desk.apply(enrolled(PAUL, 3, birth_date=date(2006, 1, 1)))
    desk.apply(enrolled(PAUL, 4))
    desk.apply(enrolled(LEA, 5, ine=INE))
    desk.apply(enrolled(PAUL, 6, ine=INE))
    assert doubts(desk) == []
    assert desk.letters(PAUL) == desk.letters(LEA) == []
    assert desk.account(PAUL).holds == frozenset()


def test_a_third_number_is_compared_with_both_of_two_namesakes(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(separate(PAUL, LEA))
    desk.apply(enrolled(OTHER, 9))
    assert {doubt.other_number for doubt in doubts(desk, OTHER)} == {LEA, PAUL}
    desk.apply(separate(OTHER, LEA))
    assert desk.maybe_account(OTHER) is None
    desk.apply(separate(OTHER, PAUL))
    assert desk.account(OTHER).login == "lea.martin3"


def test_a_correction_on_the_other_side_ends_the_doubt_too(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(enrolled(LEA, 3, birth_date=date(2005, 2, 3)))
    assert [doubt.state for doubt in doubts(desk, PAUL, *Verdict)] == [Verdict.WITHDRAWN]
    assert desk.account(PAUL).holds == frozenset()
    assert desk.letters(PAUL) == []


def test_a_doubt_that_was_withdrawn_may_be_raised_again(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(enrolled(PAUL, 3, birth_date=date(2005, 2, 3)))
    assert doubts(desk) == []
    desk.apply(enrolled(PAUL, 4))
    assert [doubt.state for doubt in doubts(desk)] == [Verdict.OPEN]
    assert desk.account(PAUL).holds == frozenset()  # it has its account by now


def test_a_number_that_was_corrected_is_nobody_s_twin_any_more(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA))
    desk.apply(enrolled(LEA, 2, birth_date=date(2005, 2, 3)))
    desk.apply(enrolled(PAUL, 3))
    assert desk.account(PAUL).login == "lea.martin2"
    assert doubts(desk) == []
    desk.apply(enrolled(OTHER, 4))
    assert [doubt.other_number for doubt in doubts(desk, OTHER)] == [PAUL]


def test_a_new_detail_of_one_side_neither_holds_the_other_nor_asks_twice(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA))
    desk.apply(enrolled(PAUL, 2))
    desk.apply(enrolled(LEA, 3, ine=INE))
    desk.apply(enrolled(PAUL, 4, ine=INE))
    assert len(doubts(desk)) == len(desk.letters(PAUL)) == 1
    assert desk.person(LEA).holds == frozenset()
    assert desk.letters(LEA) == []


def test_lifting_the_technical_hold_is_remembered_as_two_people(desk: RegistryHarness) -> None:
    in_doubt(desk)
    lifted = desk.apply(HoldLifted(student_number=PAUL, hold=Hold.TECHNICAL))
    [doubt] = doubts(desk, PAUL, *Verdict)
    assert (doubt.state, doubt.decided_at) == (Verdict.SEPARATE, lifted.time.timestamp())


@pytest.mark.parametrize(
    ("before", "says"),
    [((), "no account is made for it"), ((activation(PAUL),), "its account goes on meanwhile")],
)
def test_the_letter_of_a_doubt_names_both_numbers_and_what_to_type(
    desk: RegistryHarness, before: tuple[Event, ...], says: str
) -> None:
    desk.apply(enrolled(LEA))
    if before:
        desk.apply(enrolled(PAUL, 2, birth_date=date(2005, 2, 3)))
    for event in before:
        desk.apply(event)
    fact = desk.apply(enrolled(PAUL, 3))
    [letter] = desk.letters(PAUL)
    assert letter.event_id == fact.id
    assert letter.message == (
        f"student number {PAUL} may be the person of {LEA}: same names and birth date, or same INE; {says}."
        f" Look at both with `sesame identities show {PAUL}`, then say"
        " `sesame identities merge` or `separate`"
    )


def test_a_decision_about_nobody_or_about_one_number_says_what_to_check(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA))
    with pytest.raises(Rejected, match=r"^a number cannot be compared with itself: give the other one$"):
        desk.apply(separate(LEA, LEA))
    with pytest.raises(Rejected, match=r"^a decision names a student number that is not known: check both"):
        desk.apply(separate(LEA, "22699999"))


def test_lifting_the_hold_of_the_one_says_nothing_about_the_other(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(HoldLifted(student_number=LEA, hold=Hold.TECHNICAL))
    assert [doubt.state for doubt in doubts(desk, PAUL, *Verdict)] == [Verdict.OPEN]


def test_an_operator_s_own_technical_hold_survives_a_decision_about_a_working_account(
    desk: RegistryHarness,
) -> None:
    desk.apply(enrolled(LEA))
    desk.apply(enrolled(PAUL, 2, birth_date=date(2005, 2, 3)))
    desk.apply(activation(PAUL))
    desk.apply(HoldPlaced(student_number=PAUL, hold=Hold.TECHNICAL))
    desk.apply(enrolled(PAUL, 3))
    desk.apply(separate(PAUL, LEA))
    assert desk.account(PAUL).holds == {Hold.TECHNICAL}


# --- one person -----------------------------------------------------------------------------------------


def test_one_person_under_two_numbers_has_one_account_with_all_enrolments(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(merge(PAUL, LEA))
    assert steps(desk) == {"L1INFO", "M1DROIT"}
    assert {cohort.key for cohort in desk.account().cohorts} == {"L1INFO-2026", "M1DROIT-2026"}
    assert desk.maybe_account(PAUL) is None
    assert desk.letters(PAUL) == []
    assert doubts(desk) == []
    with desk.database.write() as connection:
        assert SqlLedger(connection, desk.database, 0).held_by(PAUL) == {}


def test_later_facts_about_the_merged_number_are_the_person_s(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(merge(PAUL, LEA))
    desk.apply(enrolled(PAUL, 3, step="DUFLE", usage_name="Lefebvre"))
    desk.apply(cancelled(PAUL, 4, step="M1DROIT"))
    assert steps(desk) == {"L1INFO", "DUFLE"}
    assert desk.account().person.display_name == "Léa Lefebvre"
    assert desk.account().login == "lea.martin"
    assert desk.maybe_account(PAUL) is None


def test_one_step_under_both_numbers_is_one_enrolment_and_the_better_one_counts(
    desk: RegistryHarness,
) -> None:
    desk.apply(enrolled(LEA, administrative=Administrative.PENDING))
    desk.apply(enrolled(PAUL, 2, pedagogical=Pedagogical.PENDING))
    desk.apply(merge(PAUL, LEA))
    [enrolment] = desk.account().enrolments
    assert enrolment.administrative is Administrative.IN_FORCE


def test_the_operator_may_let_the_new_number_go_on(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(activation(LEA))
    desk.apply(merge(LEA, PAUL))
    kept, ended = desk.account(PAUL), desk.account(LEA)
    assert (kept.login, kept.holds) == ("lea.martin2", frozenset())
    assert steps(desk, PAUL) == {"L1INFO", "M1DROIT"}
    assert (ended.stage, ended.login, ended.enrolments) == (Stage.GRACE, "lea.martin", ())


def test_an_account_that_is_too_many_ends_in_grace_and_its_login_is_never_reissued(
    desk: RegistryHarness,
) -> None:
    desk.apply(enrolled(LEA))
    desk.apply(enrolled(PAUL, 2, birth_date=date(2005, 2, 3)))
    for number in (LEA, PAUL):
        desk.apply(activation(number))
    desk.apply(enrolled(PAUL, 3))
    desk.apply(merge(PAUL, LEA))
    assert (desk.account(PAUL).stage, desk.account(PAUL).access_open) == (Stage.GRACE, True)
    desk.clock.set(START + timedelta(days=31))
    run_due(desk.database, desk.registry.timers())
    assert desk.account(PAUL).stage is Stage.EXPIRED
    desk.apply(enrolled(OTHER, 9, birth_date=date(1999, 1, 1)))
    assert desk.account(OTHER).login == "lea.martin3"
    assert desk.account(LEA).stage is Stage.ACTIVE


def test_what_a_student_settles_under_the_merged_number_is_theirs(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(merge(PAUL, LEA))
    ref = desk.seal("{ARGON2}$argon2id$…", PAUL)
    desk.apply(activation(PAUL, credential_ref=ref))
    preferred = desk.seal("Lou", PAUL, "preferred_given_name")
    wish = PreferenceChanged(
        student_number=PAUL, preference=Preference.PREFERRED_GIVEN_NAME, value_ref=preferred
    )
    desk.apply(wish)
    account = desk.account()
    assert (account.stage, account.credential_ref) == (Stage.ACTIVE, ref)
    assert account.person.display_name == "Lou Martin"
    assert desk.maybe_account(PAUL) is None
    with pytest.raises(Rejected):  # sealed for one number, it is nobody's under another
        desk.apply(CredentialChanged(student_number=LEA, credential_ref=ref))


def test_an_activation_under_the_held_number_opens_an_account_that_nobody_had_activated(
    desk: RegistryHarness,
) -> None:
    in_doubt(desk)
    ref = desk.seal("{ARGON2}$argon2id$…", PAUL)
    desk.apply(activation(PAUL, credential_ref=ref))
    assert desk.maybe_account(PAUL) is None
    desk.apply(merge(PAUL, LEA))
    assert (desk.account().stage, desk.account().credential_ref) == (Stage.ACTIVE, ref)


def test_a_decision_never_gives_a_working_account_the_other_one_s_password(desk: RegistryHarness) -> None:
    in_doubt(desk)
    mine = desk.seal("mine", LEA)
    desk.apply(activation(LEA, credential_ref=mine))
    desk.apply(activation(PAUL, credential_ref=desk.seal("theirs", PAUL)))
    desk.apply(merge(PAUL, LEA))
    assert desk.account().credential_ref == mine


def test_a_hold_goes_over_to_the_person_and_shuts_every_account_of_theirs(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA))
    desk.apply(enrolled(PAUL, 2, birth_date=date(2005, 2, 3)))
    for number in (LEA, PAUL):
        desk.apply(activation(number))
    desk.apply(HoldPlaced(student_number=PAUL, hold=Hold.ADMINISTRATIVE))
    desk.apply(merge(PAUL, LEA))
    assert not desk.account(LEA).access_open
    desk.apply(HoldPlaced(student_number=LEA, hold=Hold.SUSPENDED))
    assert Hold.SUSPENDED in desk.account(PAUL).holds
    for hold in (Hold.ADMINISTRATIVE, Hold.SUSPENDED):
        desk.apply(HoldLifted(student_number=PAUL, hold=hold))
    assert desk.account(LEA).access_open
    assert desk.account(PAUL).holds == frozenset()


def test_merging_three_numbers_leaves_one_account_whatever_the_order(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(enrolled(OTHER, 3, step="DUFLE"))
    desk.apply(merge(OTHER, PAUL))
    desk.apply(merge(PAUL, LEA))
    assert steps(desk) == {"L1INFO", "M1DROIT", "DUFLE"}
    assert (desk.person(OTHER).merged_into, desk.person(PAUL).merged_into) == (LEA, LEA)
    assert desk.maybe_account(PAUL) is None
    assert desk.maybe_account(OTHER) is None
    desk.apply(merge(OTHER, LEA))
    assert doubts(desk, OTHER) == []


def test_a_number_that_is_merged_into_a_merged_one_is_the_person_s_too(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(enrolled(OTHER, 3, step="DUFLE"))
    desk.apply(merge(PAUL, LEA))
    desk.apply(merge(OTHER, PAUL))
    assert steps(desk) == {"L1INFO", "M1DROIT", "DUFLE"}
    assert desk.person(OTHER).merged_into == LEA


def test_two_numbers_of_one_person_can_be_told_apart_from_each_other(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(enrolled(OTHER, 3, step="DUFLE"))
    desk.apply(merge(PAUL, LEA))
    desk.apply(merge(OTHER, LEA))
    desk.apply(separate(PAUL, OTHER))
    assert (desk.person(PAUL).merged_into, desk.person(OTHER).merged_into) == (None, LEA)
    assert steps(desk) == {"L1INFO", "DUFLE"}
    assert steps(desk, PAUL) == {"M1DROIT"}


def test_another_doubt_about_the_number_that_ends_does_not_shut_the_account_that_goes_on(
    desk: RegistryHarness,
) -> None:
    desk.apply(enrolled(LEA, ine=INE))
    desk.apply(enrolled(OTHER, 2, birth_name="Durand"))
    desk.apply(enrolled(PAUL, 3, birth_name="Durand", ine=INE))
    assert {doubt.other_number for doubt in doubts(desk)} == {LEA, OTHER}
    desk.apply(activation(LEA))
    desk.apply(merge(PAUL, LEA))
    assert desk.account().holds == frozenset()
    assert desk.account().access_open
    assert [doubt.other_number for doubt in doubts(desk)] == [OTHER]


def test_a_merged_number_is_in_no_doubt_with_itself(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(merge(PAUL, LEA))
    desk.apply(enrolled(LEA, 3, ine=INE))
    desk.apply(enrolled(PAUL, 4, ine=INE))
    assert doubts(desk, LEA) == []


def test_what_a_merged_number_brings_up_is_asked_about_the_person(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(merge(PAUL, LEA))
    desk.apply(enrolled(OTHER, 3, birth_name="Durand", ine=INE))
    desk.apply(enrolled(PAUL, 4, ine=INE))
    assert [(doubt.student_number, doubt.other_number) for doubt in doubts(desk, OTHER)] == [(LEA, OTHER)]
    assert doubts(desk, PAUL) == []


def test_a_namesake_of_a_merged_number_is_compared_with_the_person(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA, ine=INE))
    desk.apply(enrolled(PAUL, 2, ine=INE, birth_name="Durand"))
    desk.apply(merge(PAUL, LEA))
    desk.apply(enrolled(OTHER, 3, birth_name="Durand"))
    assert [doubt.other_number for doubt in doubts(desk, OTHER)] == [LEA]


def test_a_merge_that_was_wrong_is_taken_back(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(merge(PAUL, LEA), at=START)
    desk.apply(separate(LEA, PAUL), at=START + timedelta(hours=1))
    assert steps(desk, LEA) == {"L1INFO"}
    assert (steps(desk, PAUL), desk.account(PAUL).login) == ({"M1DROIT"}, "lea.martin2")


def test_a_merge_the_other_way_round_moves_the_account(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(activation(LEA))
    desk.apply(merge(PAUL, LEA), at=START)
    desk.apply(merge(LEA, PAUL), at=START + timedelta(hours=1))
    assert (desk.person(LEA).merged_into, desk.person(PAUL).merged_into) == (PAUL, None)
    assert (desk.account(LEA).stage, desk.account(PAUL).stage) == (Stage.GRACE, Stage.ACTIVE)


def test_a_decision_that_comes_again_does_not_undo_a_newer_one(desk: RegistryHarness) -> None:
    in_doubt(desk)
    first = desk.apply(merge(PAUL, LEA), at=START)
    desk.apply(separate(PAUL, LEA), at=START + timedelta(hours=1))
    versions = (desk.account(LEA).version, desk.account(PAUL).version)
    desk.redeliver(first)
    assert (desk.account(LEA).version, desk.account(PAUL).version) == versions


def test_two_numbers_that_nobody_doubted_can_be_merged(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA))
    desk.apply(enrolled(PAUL, 2, birth_name="Durand", step="DUFLE"))
    desk.apply(merge(PAUL, LEA))
    assert steps(desk) == {"L1INFO", "DUFLE"}


@pytest.mark.parametrize(
    ("decision", "cause"), [(merge(PAUL, LEA), "unknown_student"), (merge(LEA, LEA), "one_number")]
)
def test_a_decision_that_names_nobody_is_refused(desk: RegistryHarness, decision: Event, cause: str) -> None:
    desk.apply(enrolled(LEA))
    with pytest.raises(Rejected) as rejected:
        desk.apply(decision)
    assert rejected.value.cause == cause


# --- somebody who is in the directory already -----------------------------------------------------------


def seen_in_directory(desk: RegistryHarness, *, holder: str | None, login: str = "lea.martin") -> bool:
    """What the hourly look at the directory's entry of this login comes to."""
    desk.clock.now += 1
    with desk.transaction() as connection:
        ledger = SqlLedger(connection, desk.database, desk.clock())
        mails = (f"{login}@univ-exemple.fr", f"a.{login}@univ-exemple.fr")
        names = [("login", login), *(("mail", mail) for mail in mails)]
        found = [ledger.reserve(kind, name, holder=holder, origin="directory") for kind, name in names]
    return all(found)


def test_a_login_of_the_staff_is_never_a_student_s(desk: RegistryHarness) -> None:
    seen_in_directory(desk, holder=None)
    desk.apply(enrolled())
    desk.apply(activation())
    assert desk.account().login == "lea.martin2"


def test_a_doctoral_student_whom_an_operator_links_keeps_the_login_they_have(desk: RegistryHarness) -> None:
    seen_in_directory(desk, holder=None)
    desk.apply(enrolled())
    assert desk.account().login == "lea.martin2"
    assert seen_in_directory(desk, holder=LEA)
    desk.apply(activation())
    account = desk.account()
    assert (account.login, account.mail) == ("lea.martin", "lea.martin@univ-exemple.fr")
    assert set(account.aliases) == {"a.lea.martin@univ-exemple.fr", "lea.martin2@etu.univ-exemple.fr"}
    assert seen_in_directory(desk, holder=LEA)


def test_a_link_that_comes_after_the_activation_is_a_conflict_and_changes_nothing(
    desk: RegistryHarness,
) -> None:
    seen_in_directory(desk, holder=None)
    desk.apply(enrolled())
    desk.apply(activation())
    assert not seen_in_directory(desk, holder=LEA)
    desk.apply(enrolled(sequence=2, step="DUFLE"))
    assert (desk.account().login, desk.account().aliases) == ("lea.martin2", ())


def test_a_login_that_was_minted_is_never_linked_to_anybody(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    assert not seen_in_directory(desk, holder=PAUL)
    assert not seen_in_directory(desk, holder=None)
    desk.apply(activation())
    assert desk.account().login == "lea.martin"


# --- a number that changes hands ------------------------------------------------------------------------

KARIM: dict[str, Any] = {
    "birth_name": "Benali",
    "given_name": "Karim",
    "birth_date": date(2005, 1, 2),
    "step": "M1DROIT",
}


def test_a_number_that_changes_hands_leaves_the_account_as_it_is(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(activation())
    desk.apply(enrolled(sequence=2, **KARIM))
    account = desk.account()
    assert (account.person.display_name, account.access_open) == ("Léa Martin", True)
    assert steps(desk) == {"L1INFO"}
    [doubt] = doubts(desk, LEA)
    assert (doubt.other_number, doubt.evidence) == (None, ("holder",))
    assert doubt.claimed is not None
    assert doubt.claimed.birth_name == "Benali"
    [letter] = desk.letters(LEA)
    assert letter.cause == "doubtful_identity"
    assert "Benali" not in letter.message
    assert f"names and birth date of student number {LEA} have changed" in letter.message
    assert f"`sesame identities merge {LEA}` (still the same person) or `separate {LEA}`" in letter.message


def test_the_doubt_about_a_holder_is_raised_once(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    fact = desk.apply(enrolled(sequence=2, **KARIM))
    desk.redeliver(fact)
    desk.apply(enrolled(sequence=3, **{**KARIM, "step": "DUFLE"}))
    assert len(doubts(desk, LEA)) == len(desk.letters(LEA)) == 1


def test_a_holder_who_is_still_the_same_person_gets_what_was_held(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(sequence=2, **KARIM))
    desk.apply(enrolled(sequence=3, **{**KARIM, "step": "DUFLE"}))
    desk.apply(merge(LEA))
    assert (desk.account().person.display_name, desk.account().login) == ("Karim Benali", "lea.martin")
    assert steps(desk) == {"L1INFO", "M1DROIT", "DUFLE"}
    assert desk.letters() == []
    assert doubts(desk, LEA) == []
    desk.apply(enrolled(sequence=4, step="L2INFO"))
    desk.apply(enrolled(sequence=5, **KARIM))
    assert desk.account().person.display_name == "Karim Benali"
    assert doubts(desk, LEA) == []


def test_a_holder_who_is_somebody_else_is_refused_now_and_later(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(sequence=2, **KARIM))
    held = desk.apply(enrolled(sequence=3, **{**KARIM, "step": "DUFLE"}))
    desk.clock.now += 60
    decision = desk.apply(separate(LEA))
    assert (desk.account().person.display_name, steps(desk)) == ("Léa Martin", {"L1INFO"})
    letter = {each.event_id: each for each in desk.letters()}[held.id]
    assert letter.cause == "number_reissued"
    assert "give the newcomer a number of their own" in letter.message
    assert [doubt.decided_at for doubt in doubts(desk, LEA, *Verdict)] == [decision.time.timestamp()]
    with pytest.raises(Rejected) as rejected:
        desk.apply(enrolled(sequence=4, **KARIM))
    assert rejected.value.cause == "number_reissued"
    assert doubts(desk, LEA) == []


def test_who_the_number_was_said_to_be_is_forgotten_once_decided(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(sequence=2, **KARIM))
    desk.apply(separate(LEA))
    assert [doubt.claimed for doubt in doubts(desk, LEA, *Verdict)] == [None]
    with desk.database.read() as connection:
        assert pending_facts.held(connection, LEA) == []


def test_the_registrar_s_correction_of_the_same_step_withdraws_the_doubt(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(sequence=2, **KARIM))
    desk.apply(enrolled(sequence=3, pedagogical=Pedagogical.PENDING))
    assert len(doubts(desk, LEA)) == 1  # another step says nothing about the one that is held
    desk.apply(enrolled(sequence=4, step="M1DROIT"))
    assert doubts(desk, LEA) == []
    assert desk.letters() == []
    assert steps(desk) == {"L1INFO", "M1DROIT"}


def test_an_older_fact_of_the_same_step_replaces_nothing(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(sequence=5, **KARIM))
    desk.apply(enrolled(sequence=3, step="M1DROIT"))
    assert len(doubts(desk, LEA)) == 1
    desk.apply(merge(LEA))
    assert desk.account().person.display_name == "Karim Benali"


def test_a_cancellation_of_the_step_in_doubt_withdraws_it(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(sequence=2, **KARIM))
    desk.apply(cancelled(sequence=3, step="M1DROIT"))
    assert doubts(desk, LEA) == []
    assert desk.letters() == []


def test_a_fact_in_doubt_waits_longer_than_one_of_an_unknown_student(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(sequence=2, **KARIM))
    with desk.transaction() as connection:
        assert desk.registry.expire_pending(connection, START.timestamp() + 400 * 86_400) == 0
        assert len(pending_facts.held(connection, LEA)) == 1


def test_acts_of_the_holder_go_on_while_their_number_is_in_doubt(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(sequence=2, **KARIM))
    desk.apply(activation())
    desk.apply(HoldPlaced(student_number=LEA, hold=Hold.SUSPENDED))
    assert (desk.account().stage, desk.account().access_open) == (Stage.ACTIVE, False)
    assert desk.account().person.display_name == "Léa Martin"


# --- recognition ----------------------------------------------------------------------------------------


def who(birth_name: str, given_name: str, born: str, **more: str) -> Identity:
    day = datetime.strptime(born, "%d/%m/%Y").date()  # noqa: DTZ007  # a birth date has no zone
    return Identity(birth_name=birth_name, given_name=given_name, birth_date=day, **more)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (who("Martin", "Léa", "04/05/2007"), who("Lefebvre", "Léa", "04/05/2007")),
        (who("Martin", "Louis", "04/05/2007"), who("Martin", "Louise", "04/05/2007")),
        (who("Martin", "Louis", "04/05/2007"), who("Martin", "Camille", "04/05/2007")),
        (who("Martin", "Léa", "04/05/2007"), who("MARTIN", "LEA", "05/04/2007")),
        (who("Martin", "Léa", "04/05/2007"), who("Martin-Durand", "Léa Marie", "01/01/1970")),
        (who("Lefebvre", "Théo", "04/05/2007"), who("Lefevre", "Theo", "04/05/1997")),
        (who("Petit", "Ana", "04/05/2007", usage_name="Roux"), who("Roux", "Ana", "01/01/2001")),
        (
            who("Petit", "Paul", "04/05/2007", preferred_given_name="Camille"),
            who("Petit", "Camille", "01/01/2001"),
        ),
        (who("王", "小明", "04/05/2007"), who("Wang", "Xiaoming", "04/05/2007")),
        (who("🎓", "Ana", "04/05/2007"), who("🎉", "Ana", "04/05/2007")),
        (who("🎓", "Ana", "04/05/2007"), who("🎓", "Ana", "01/01/2001")),
        (who("Suharto", "", "04/05/2007"), who("", "Suharto", "04/05/2007")),
        (who("Suharto", "", "04/05/2007"), who("Suharto", "Budi", "04/05/2007")),
        (who("", "Budi", "04/05/2007"), who("Suharto", "Budi", "04/05/2007")),
    ],
)
def test_people_are_recognised_by_two_of_three(before: Identity, after: Identity) -> None:
    assert recognised(before, after, None, None)
    assert recognised(after, before, None, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (who("Martin", "Léa", "04/05/2007"), who("Benali", "Karim", "02/01/2005")),
        (who("Martin", "Léa", "04/05/2007"), who("Benali", "Karim", "04/05/2007")),
        (who("Martin", "Léa", "04/05/2007"), who("Martin", "Hugo", "02/01/2005")),
        (who("Martin", "Léa", "04/05/2007"), who("Durand", "Léa", "02/01/2005")),
        (who("Martin", "Léa", "04/05/2007"), who("Durand", "Léa", "05/04/2007")),
        (who("🎓", "Léa", "04/05/2007"), who("🎉", "Hugo", "04/05/2007")),
        (who("D", "Léa", "04/05/2007"), who("E D", "Hugo", "04/05/2007")),
        (who("Suharto", "", "04/05/2007"), who("Benali", "", "04/05/2007")),
        (who("Suharto", "", "04/05/2007"), who("Suharto", "", "02/01/2005")),
        (who("Suharto", "", "04/05/2007"), who("Benali", "Karim", "04/05/2007")),
    ],
)
def test_one_of_three_is_not_enough(before: Identity, after: Identity) -> None:
    assert not recognised(before, after, None, None)
    assert not recognised(before, after, INE, None)
    assert not recognised(before, after, INE, "9876543210B")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (who("De La Tour", "Jean-Pierre", "04/05/2007"), who("DELATOUR", "Jean Pierre", "04/05/2007")),
        (who("d’Arc", "Zoé", "04/05/2007"), who("D'ARC", "ZOE", "04/05/2007", usage_name="Petit")),
        (who("王", "小明", "04/05/2007"), who("Wang", "Xiaoming", "04/05/2007")),
        (who("🎓", "Ana", "04/05/2007"), who("🎓", "ANA", "04/05/2007")),
        (who("Suharto", "", "04/05/2007"), who("", "SUHARTO", "04/05/2007")),
    ],
)
def test_a_fingerprint_does_not_depend_on_the_spelling(one: Identity, other: Identity) -> None:
    assert fingerprints(one, INE) == fingerprints(other, INE.lower())


@pytest.mark.parametrize(
    "other",
    [
        who("🎉", "Ana", "04/05/2007"),
        who("🎓", "Anna", "04/05/2007"),
        who("🎓", "Ana", "05/04/2007"),
        who("Ana", "🎓", "04/05/2007"),
    ],
)
def test_a_fingerprint_tells_names_and_birth_dates_apart(other: Identity) -> None:
    mine = fingerprints(who("🎓", "Ana", "04/05/2007"), None)
    assert mine["birth"] != fingerprints(other, None)["birth"]
    assert "ine" not in mine


def test_the_ine_vouches_for_anybody() -> None:
    nobody_else = who("Benali", "Karim", "02/01/2005")
    assert recognised(who("Martin", "Léa", "04/05/2007"), nobody_else, INE, INE.lower())


# --- the number in use ----------------------------------------------------------------------------------


def shown(desk: RegistryHarness, *numbers: str) -> list[str | None]:
    return [desk.account(number).shown_number for number in numbers]


def test_an_account_shows_the_number_that_the_registrar_goes_on_using(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(merge(PAUL, LEA))
    assert shown(desk, LEA) == [None], "both are in use: the one that goes on is the person's"
    desk.apply(cancelled(LEA, 3))
    assert shown(desk, LEA) == [PAUL]
    desk.apply(enrolled(LEA, 4, year=2025, step="L3INFO"))
    assert shown(desk, LEA) == [PAUL], "of a former year"
    desk.apply(enrolled(LEA, 5))
    assert shown(desk, LEA) == [PAUL], "in use again, and nobody minds which of the two is shown"
    desk.apply(cancelled(PAUL, 6, step="M1DROIT"))
    assert shown(desk, LEA) == [None]


def test_an_account_that_ended_gives_its_number_up_while_another_shows_it(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA))
    desk.apply(enrolled(PAUL, 2, birth_date=date(2005, 2, 3)))
    for number in (LEA, PAUL):
        desk.apply(activation(number))
    desk.apply(merge(PAUL, LEA), at=START)
    assert shown(desk, LEA, PAUL) == [None, None]
    desk.apply(cancelled(LEA, 3))
    assert shown(desk, LEA, PAUL) == [PAUL, ""]
    desk.apply(separate(PAUL, LEA), at=START + timedelta(hours=1))
    assert shown(desk, LEA, PAUL) == [None, None]


def test_a_number_that_is_alone_in_force_at_the_merge_is_shown_at_once(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA, year=2025))
    desk.apply(activation(LEA))
    desk.apply(enrolled(PAUL, 2, birth_date=date(2005, 2, 3)))
    desk.apply(activation(PAUL))
    desk.apply(merge(PAUL, LEA))
    assert shown(desk, LEA, PAUL) == [PAUL, ""]
