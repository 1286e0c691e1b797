"""Entries in the kit's words: whose they are, what of them counts, and what is listed of everybody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from consumers.directory.entry import CLASSES, wanted_fields
from consumers.directory.objects import EntryObject, GroupNames, compared, in_groups, shown
from consumers.kit.connector import Held
from pipeline.target import Dead, Task
from schemas.account import Account
from sesame.testing.servers.directory_kit import PROFILE
from sesame.testing.servers.ldap_kit import NUMBER, PEOPLE, Tree, directory_on, group_of, student, tree_of

NONE = GroupNames()
LOGIN = "hugo.roux"
NUMBERS = {"supannEtuId", "supannRefId"}


def entry(wanted: Account, changes: Mapping[str, Iterable[str]] | None = None) -> EntryObject:
    """The entry of a student, as it should be but for these."""
    fields = wanted_fields(wanted, PROFILE)
    values = {**fields, "entryCSN": ("20261127#1",), **(changes or {})}
    raw = {name: [value.encode() for value in some] for name, some in values.items() if some}
    return shown(f"uid={wanted.login},ou=People", raw)


def differing(wanted: Account, found: EntryObject, groups: GroupNames = NONE) -> set[str]:
    fields = wanted_fields(wanted, PROFILE)
    there = compared(found, wanted, groups)
    return {name for name, values in fields.items() if there.fields.get(name) != values}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"uid": ("Other", LOGIN.upper())}, set()),
        ({"uid": ("another",)}, {"uid"}),
        ({"objectClass": ("top", *(name.upper() for name in CLASSES))}, set()),
        ({"objectClass": CLASSES[1:]}, {"objectClass"}),
        ({"supannEtuId": ("9", NUMBER)}, set()),
        ({"supannEtuId": ()}, {"supannEtuId"}),
        ({"supannEtuId": ("2",), "supannRefId": (f"{{APOGEE}}{NUMBER}", f"{{SESAME}}{NUMBER}")}, NUMBERS),
        ({"sesameVersion": ()}, {"sesameVersion"}),
    ],
)
def test_what_is_others_own_does_not_count(changes: dict[str, Iterable[str]], expected: set[str]) -> None:
    assert differing(student(), entry(student(), changes)) == expected


def test_a_number_that_goes_over_is_compared_with_what_is_shown() -> None:
    moved, gone = student(shown_number="2"), student(shown_number="")
    assert differing(moved, entry(moved, {"supannEtuId": (NUMBER,)})) == {"supannEtuId"}
    assert differing(moved, entry(moved)) == set()
    assert differing(gone, entry(gone)) == set()
    assert entry(gone).student_numbers == (NUMBER,)


def test_a_group_of_somebody_else_s_is_waited_for_and_the_others_are_compared() -> None:
    wanted = student(groups=tuple(group_of(key) for key in ("Ours", "Theirs")))
    known = GroupNames(frozenset({"ours", "theirs"}), frozenset({"theirs"}))
    for found in (in_groups(entry(wanted), ["OURS"]), entry(wanted)):  # static, and dynamic
        assert differing(wanted, found, known) == set()
        assert compared(found, wanted, known).held == Held("group_not_ours", ("Theirs",), 3600.0)
    missing = GroupNames(frozenset({"theirs"}), frozenset({"theirs"}))
    assert differing(wanted, in_groups(entry(wanted), []), known) == {"groups"}
    assert differing(wanted, entry(wanted), missing) == {"groups"}


def test_what_is_listed_tells_whose_it_is_and_which_names_it_has() -> None:
    evidence = {
        "schacDateOfBirth": ("20050203",),
        "supannCodeINE": ("1234",),
        "supannNomDeNaissance": ("Roux",),
    }
    one = entry(student(aliases=("h.roux@x.fr",)), evidence)
    assert (one.ref, one.student_number, one.open, one.revision) == (
        f"uid={LOGIN},ou=people",
        NUMBER,
        True,
        "20261127#1",
    )
    assert dict(one.evidence) == {"family": "Roux", "given": "Hugo", "ine": "1234", "birth": "2005-02-03"}
    assert set(one.names) == {
        ("login", LOGIN),
        ("mail", f"{LOGIN}@univ-exemple.fr"),
        ("mail", "h.roux@x.fr"),
        ("principal", f"{LOGIN}@univ-exemple.fr"),
    }
    assert entry(student(), {"supannEtuId": ()}).student_number == ""


def test_what_is_listed_is_in_the_form_of_what_is_wanted() -> None:
    group = group_of("L1-Info")
    for wanted in (student(groups=(group,), credential_ref="ref"), student(shown_number="2")):
        fields, found = wanted_fields(wanted, PROFILE), entry(wanted)
        for each in (found, in_groups(found, [g.key for g in wanted.groups])):
            assert {name: each.fields[name] for name in fields} == fields


@pytest.mark.parametrize("numbers", [[], ["2"]], ids=["nobody's", "another's"])
def test_an_entry_that_has_the_login_and_another_number_or_none_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, numbers: list[str]
) -> None:
    tree: Tree = tree_of(monkeypatch)
    tree.put(f"uid=x,{PEOPLE}", uid=["x", LOGIN.upper()], supannEtuId=numbers)
    outcome = directory_on().handler().handle([Task(student())])[NUMBER]
    assert isinstance(outcome, Dead)
    assert outcome.cause == "identity_collision"
    assert [each.dn for each in tree.wrote() if each.dn.endswith(PEOPLE)] == []
