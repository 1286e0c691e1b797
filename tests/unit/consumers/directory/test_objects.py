"""Entries in the kit's words: whose they are, what of them counts, and what is listed of everybody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumers.directory.entry import CLASSES, desired_entry
from consumers.directory.objects import listed, object_of, wanted_fields
from consumers.directory.port import GroupNames, ObservedEntry
from consumers.kit.connector import Held
from pipeline.target import Dead, Task
from schemas.account import Account, Membership, Requirement
from sesame.testing.servers.directory_kit import PROFILE, handler_over
from tests.unit.consumers.directory.directory_kit import InMemory, account

NONE = GroupNames(frozenset())


def shown(wanted: Account, **changes: object) -> ObservedEntry:
    """The entry of a student, as it should be but for these."""
    desired = desired_entry(wanted, PROFILE)
    entry = ObservedEntry(
        dn=f"uid={wanted.login},ou=People",
        logins=(wanted.login,),
        student_numbers=(wanted.student_number,),
        version=wanted.version,
        revision="20261127#1",
        classes=CLASSES,
        attributes=desired.attributes,
        locked=desired.locked,
        credential_ref=None,
    )
    return replace(entry, **changes)  # type: ignore[arg-type]


def differing(wanted: Account, entry: ObservedEntry, groups: GroupNames = NONE) -> set[str]:
    desired = desired_entry(wanted, PROFILE)
    fields, found = wanted_fields(desired, wanted.credential_ref), object_of(entry, desired, groups)
    return {name for name, values in fields.items() if found.fields.get(name) != values}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"logins": ("Other", "HUGO.ROUX1")}, set()),
        ({"logins": ("another",)}, {"uid"}),
        ({"classes": ("top", *(name.upper() for name in CLASSES))}, set()),
        ({"classes": CLASSES[1:]}, {"objectClass"}),
        ({"student_numbers": ("9", "1")}, set()),
        ({"student_numbers": ()}, {"supannEtuId"}),
        ({"shown_numbers": ("2",)}, {"supannEtuId"}),
        ({"version": 0}, {"sesameVersion"}),
    ],
)
def test_what_is_others_own_does_not_count(changes: dict[str, object], expected: set[str]) -> None:
    assert differing(account("1"), shown(account("1"), **changes)) == expected


def test_a_number_that_goes_over_is_compared_with_what_is_shown() -> None:
    moved = account("1", shown_number="2")
    assert differing(moved, shown(moved)) == {"supannEtuId"}
    assert differing(moved, shown(moved, shown_numbers=("2",))) == set()
    assert (
        differing(account("1", shown_number=""), shown(account("1", shown_number=""), shown_numbers=()))
        == set()
    )


def test_a_group_of_somebody_else_s_is_waited_for_and_the_others_are_compared() -> None:
    groups = [
        Membership(key=key, name="", requires=Requirement.ADMINISTRATIVE, met=True)
        for key in ("Ours", "Theirs")
    ]
    wanted = account("1", groups=tuple(groups))
    known = GroupNames(frozenset({"ours", "theirs"}), frozenset({"theirs"}))
    for entry in (shown(wanted, groups=("OURS",)), shown(wanted)):  # static, and dynamic
        assert differing(wanted, entry, known) == set()
        assert object_of(entry, desired_entry(wanted, PROFILE), known).held == Held(
            "group_not_ours", ("Theirs",), 3600.0
        )
    missing = GroupNames(frozenset({"theirs"}), frozenset({"theirs"}))
    assert differing(wanted, shown(wanted, groups=()), known) == {"groups"}
    assert differing(wanted, shown(wanted), missing) == {"groups"}


def test_what_is_listed_tells_whose_it_is_and_which_names_it_has() -> None:
    evidence = {
        "schacDateOfBirth": ("20050203",),
        "supannCodeINE": ("1234",),
        "supannNomDeNaissance": ("Roux",),
    }
    one = listed(shown(account("1", aliases=("h.roux@x.fr",)), evidence=evidence))
    assert (one.ref, one.student_number, one.open, one.revision) == (
        "uid=hugo.roux1,ou=people",
        "1",
        True,
        "20261127#1",
    )
    assert dict(one.evidence) == {"family": "Roux", "given": "Hugo", "ine": "1234", "birth": "2005-02-03"}
    assert set(one.names) == {
        ("login", "hugo.roux1"),
        ("mail", "hugo.roux1@univ-exemple.fr"),
        ("mail", "h.roux@x.fr"),
        ("principal", "hugo.roux1@univ-exemple.fr"),
    }
    assert listed(shown(account("1"), student_numbers=(), locked=True)).student_number == ""


def test_what_is_listed_is_in_the_form_of_what_is_wanted() -> None:
    group = Membership(key="L1-Info", name="", requires=Requirement.ADMINISTRATIVE, met=True)
    for wanted in (account("1", groups=(group,), credential_ref="ref"), account("1", shown_number="2")):
        numbers = None if wanted.shown_number is None else (wanted.shown_number,)
        entry = shown(wanted, credential_ref=wanted.credential_ref, shown_numbers=numbers)
        fields = wanted_fields(desired_entry(wanted, PROFILE), wanted.credential_ref)
        for each in (entry, replace(entry, groups=tuple(g.key for g in wanted.groups))):
            found = listed(each).fields
            assert {name: found[name] for name in fields} == fields


def test_an_entry_that_has_the_login_and_another_number_or_none_is_left_alone() -> None:
    for numbers in ((), ("2",)):
        directory = InMemory()
        directory.strangers = {"hugo.roux1": shown(account("1"), student_numbers=numbers)}
        outcome = handler_over(directory).handle([Task(account("1"))])["1"]
        assert isinstance(outcome, Dead)
        assert outcome.cause == "identity_collision"
        assert not any(verb == "apply" for verb, _ in directory.calls)
