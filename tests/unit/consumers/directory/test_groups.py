"""Groups of the directory: ours are written, member by member; a group of somebody else's never is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consumers.directory.port import Applied, ApplyResult, EntryRefused
from pipeline.errors import Misconfigured
from tests.unit.consumers.directory.ldap_kit import (
    DN,
    GROUPS,
    HELD,
    NUMBER,
    PEOPLE,
    PROVISIONER,
    Tree,
    changed,
    desired,
    directory_on,
    tree_of,
)

INFO, DROIT = f"cn=info,{GROUPS}", f"cn=droit,{GROUPS}"


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> Tree:
    return tree_of(monkeypatch)


def apply(**groups: str) -> ApplyResult:
    return directory_on(groups=GROUPS, static_groups=True).apply([desired(groups=groups)])[NUMBER]


def shown() -> tuple[str, ...] | None:
    (entry,) = directory_on(groups=GROUPS, static_groups=True).read([NUMBER])[NUMBER]
    return entry.groups


def group(tree: Tree, dn: str, *members: str, owner: str = PROVISIONER) -> None:
    name = dn.partition(",")[0].removeprefix("cn=")
    tree.put(dn, objectClass="groupOfNames", cn=name, owner=owner, member=[dn, *members])


# --- static -----------------------------------------------------------------------------------------------


def test_a_group_is_made_with_its_first_member_and_joined_by_the_next(tree: Tree) -> None:
    assert apply(info="Informatique") == Applied(changed=True)
    assert tree.entries[INFO]["member"] == [INFO, DN]
    assert tree.entries[INFO]["owner"] == [PROVISIONER]
    assert tree.entries[INFO]["description"] == ["Informatique"]
    assert tree.entries[INFO]["objectClass"] == ["groupOfNames"]
    assert shown() == ("info",)
    assert apply(info="Informatique") == Applied(changed=False)


def test_a_member_is_added_beside_the_others_and_taken_out_alone(tree: Tree) -> None:
    other = f"uid=autre,{PEOPLE}"
    group(tree, INFO, other)
    assert apply(info="") == Applied(changed=True)
    assert tree.entries[INFO]["member"] == [INFO, other, DN]
    assert apply() == Applied(changed=True)
    assert tree.entries[INFO]["member"] == [INFO, other]
    assert shown() == ()


def test_who_changes_group_leaves_the_former_one(tree: Tree) -> None:
    apply(info="", zero="")
    assert apply(droit="", zero="") == Applied(changed=True)
    assert shown() == ("droit", "zero")
    assert DN not in tree.entries[INFO]["member"]


def test_a_group_that_is_there_hides_no_other_one_and_a_joining_alone_is_a_change(tree: Tree) -> None:
    apply(droit="")
    assert apply(droit="", info="", zero="") == Applied(changed=True)
    assert shown() == ("droit", "info", "zero")
    assert apply(droit="", info="", zero="") == Applied(changed=False)
    assert apply() == Applied(changed=True)
    assert "description" not in tree.entries[INFO]


def test_a_membership_is_kept_whatever_the_case_of_the_group(tree: Tree) -> None:
    apply()
    group(tree, f"cn=INFO,{GROUPS}", DN)
    assert apply(info="") == Applied(changed=False)


def test_a_group_of_somebody_else_s_is_left_and_said(tree: Tree) -> None:
    group(tree, INFO, owner=f"cn=other,{PEOPLE}")
    assert apply(info="", droit="") == Applied(changed=True, foreign=("info",))
    assert tree.entries[INFO]["member"] == [INFO]
    assert shown() == ("droit",)


def test_nobody_is_taken_out_of_a_group_of_somebody_else_s(tree: Tree) -> None:
    group(tree, INFO, DN, owner=f"cn=other,{PEOPLE}")
    assert apply() == Applied(changed=True)  # the entry
    assert tree.entries[INFO]["member"] == [INFO, DN]
    assert shown() == ()


def test_a_group_that_lost_its_owner_meanwhile_is_left_when_it_is_left(tree: Tree) -> None:
    apply(info="")

    def before(asked: Any) -> None:
        if asked.verb == "modify" and asked.dn == INFO:
            tree.write(INFO, owner=f"cn=other,{PEOPLE}")

    tree.before = before
    assert apply() == Applied(changed=False)
    assert DN in tree.entries[INFO]["member"]


def test_a_group_that_somebody_made_at_the_same_moment_is_joined(tree: Tree) -> None:
    def before(asked: Any) -> None:
        if asked.verb == "add" and asked.dn == INFO and INFO not in tree.entries:
            group(tree, INFO)

    tree.before = before
    assert apply(info="") == Applied(changed=True)
    assert DN in tree.entries[INFO]["member"]


def test_who_became_a_member_meanwhile_is_one(tree: Tree) -> None:
    apply()

    def before(asked: Any) -> None:
        if asked.verb == "modify" and asked.dn == INFO:
            group(tree, INFO, DN)

    tree.before = before
    assert apply(info="") == Applied(changed=False)
    assert shown() == ("info",)


def test_a_refusal_of_a_group_is_the_student_s(tree: Tree) -> None:
    apply()
    tree.before = lambda asked: 65 if asked.dn == INFO else None
    assert isinstance(apply(info=""), EntryRefused)
    tree.before = lambda _asked: None
    apply(info="")
    tree.before = lambda asked: 65 if asked.dn == INFO else None
    assert isinstance(apply(), EntryRefused)


def test_an_entry_that_is_refused_joins_nothing(tree: Tree) -> None:
    tree.put(DN, **HELD, supannEtuId="22699999")
    assert isinstance(apply(info=""), EntryRefused)
    assert INFO not in tree.entries


def test_an_adopted_entry_is_the_member_and_not_its_namesake(tree: Tree) -> None:
    other = f"uid=hugo.roux,ou=staff,{PEOPLE}"
    tree.put(f"ou=staff,{PEOPLE}", objectClass="top")
    tree.put(other, **HELD)
    one = desired(groups={"info": ""}, adopted=other)
    directory_on(groups=GROUPS, static_groups=True).apply([one])
    directory_on(groups=GROUPS, static_groups=True).apply([replace(one, version=4)])
    assert tree.entries[INFO]["member"] == [INFO, other]


def test_everybody_is_shown_with_their_groups(tree: Tree) -> None:
    apply(info="", droit="")
    tree.put(f"uid=autre,{PEOPLE}", uid="autre")
    for n in range(30):
        group(tree, f"cn=g{n},{GROUPS}", DN.upper().replace(",", ", "))
    group(tree, f"cn=theirs,{GROUPS}", DN, owner=f"cn=other,{PEOPLE}")
    found = {e.dn: e.groups for e in directory_on(groups=GROUPS, static_groups=True).dump()}
    assert found == {
        DN: tuple(sorted(["info", "droit", *(f"g{n}" for n in range(30))])),
        f"uid=autre,{PEOPLE}": (),
    }


def test_where_groups_are_searches_nobody_is_shown_with_any(tree: Tree) -> None:
    directory_on(groups=GROUPS).apply([desired()])
    (entry,) = directory_on(groups=GROUPS).read([NUMBER])[NUMBER]
    assert entry.groups is None
    assert [e.groups for e in directory_on(groups=GROUPS).dump()] == [None]
    assert tree.entries


def test_groups_that_cannot_be_read_are_no_absence_of_groups(tree: Tree) -> None:
    apply(info="")
    tree.before = lambda asked: 50 if asked.verb == "search" and asked.dn == GROUPS else None
    with pytest.raises(Misconfigured):
        shown()
    with pytest.raises(Misconfigured):
        list(directory_on(groups=GROUPS, static_groups=True).dump())


# --- dynamic ----------------------------------------------------------------------------------------------


def searched(**groups: str) -> ApplyResult:
    return directory_on(groups=GROUPS).apply([desired(groups=groups)])[NUMBER]


def test_a_search_is_made_once_and_is_of_the_group_s_own_key(tree: Tree) -> None:
    assert searched(info="Informatique") == Applied(changed=True)
    assert tree.entries[INFO]["memberURL"] == [f"ldap:///{PEOPLE}??sub?(sesameGroup=info)"]
    assert tree.entries[INFO]["description"] == ["Informatique"]
    assert tree.entries[INFO]["objectClass"] == ["groupOfURLs"]
    searched(droit="")
    assert "description" not in tree.entries[DROIT]
    directory = directory_on(groups=GROUPS)
    for _ in range(2):
        directory.apply([desired(groups={"info": ""})])
    assert sum(each.dn == INFO for each in tree.wrote("add")) == 2  # once by each process


def test_something_else_of_that_name_is_left_and_said(tree: Tree) -> None:
    group(tree, INFO)
    directory = directory_on(groups=GROUPS)
    for _ in range(2):
        result = directory.apply([desired(groups={"info": "", "droit": ""})])[NUMBER]
        assert isinstance(result, Applied)
        assert result.foreign == ("info",)
    assert tree.entries[INFO]["objectClass"] == ["groupOfNames"]


def test_a_search_that_is_refused_is_the_student_s_and_the_entry_is_not_written(tree: Tree) -> None:
    tree.before = lambda asked: 65 if asked.dn == INFO else None
    assert isinstance(searched(info=""), EntryRefused)
    assert DN not in tree.entries


# --- foresight --------------------------------------------------------------------------------------------


def foreseen(*, static: bool = True, **fields: Any) -> ApplyResult:
    one = desired(**fields)
    directory = directory_on(groups=GROUPS, static_groups=static)
    return directory.foresee([one], directory.read([NUMBER]))[NUMBER]


@pytest.mark.parametrize("static", [True, False])
def test_a_group_of_somebody_else_s_is_foreseen_and_nothing_is_written(tree: Tree, *, static: bool) -> None:
    theirs, ours = f"cn=Theirs,{GROUPS}", f"cn=ours,{GROUPS}"
    group(tree, theirs, owner=f"cn=other,{PEOPLE}")
    if static:
        group(tree, ours, owner=PROVISIONER.upper().replace(",", ", "))
    else:
        tree.put(ours, objectClass="GroupOfUrls", cn="ours")
    wanted = {"ours": "", "Theirs": "", "new": ""}
    assert foreseen(static=static, groups=wanted) == Applied(changed=False, foreign=("Theirs",))
    assert not tree.wrote()


TAKEN = {
    "uid": ("identity_collision", {"uid": "hugo.roux"}),
    "mail": ("mail_taken", {"mail": "HUGO.roux@univ-exemple.fr"}),
    "as an alias": ("mail_taken", {"supannAutreMail": "hugo.roux@univ-exemple.fr"}),
    "alias": ("mail_taken", {"mail": "h.roux@univ-exemple.fr"}),
    "principal": ("principal_taken", {"eduPersonPrincipalName": "hroux@univ-exemple.fr"}),
}


@pytest.mark.parametrize("case", sorted(TAKEN))
def test_a_value_that_another_entry_has_is_foreseen(tree: Tree, case: str) -> None:
    cause, theirs = TAKEN[case]
    tree.put(f"uid=autre,{PEOPLE}", **{"uid": "autre", "objectClass": "top", **theirs})
    one = changed(
        desired(),
        supannAutreMail=("h.roux@univ-exemple.fr",),
        eduPersonPrincipalName=("hroux@univ-exemple.fr",),
    )
    directory = directory_on()
    result = directory.foresee([one], {})[NUMBER]
    assert isinstance(result, EntryRefused)
    assert result.cause == cause
    assert not tree.wrote()


def test_a_number_that_an_entry_has_is_foreseen_where_another_one_is_to_get_it(tree: Tree) -> None:
    tree.put(DN, **HELD)
    (adopted,) = directory_on().read([NUMBER], {NUMBER: DN})[NUMBER]
    tree.put(f"uid=autre,{PEOPLE}", uid="autre", supannEtuId=NUMBER)
    result = directory_on().foresee([desired(adopted=DN)], {NUMBER: (adopted,)})[NUMBER]
    assert isinstance(result, EntryRefused)
    assert result.cause == "student_number_taken"


def test_what_the_student_s_own_entry_has_stands_in_nobody_s_way(tree: Tree) -> None:
    directory_on().apply([desired()])
    assert foreseen() == Applied(changed=False)
    one = changed(desired(), mail=("new@univ-exemple.fr",), supannAutreMail=("hugo.roux@univ-exemple.fr",))
    directory = directory_on()
    assert directory.foresee([one], directory.read([NUMBER]))[NUMBER] == Applied(changed=False)
    assert tree.entries


def test_each_of_a_large_batch_is_foreseen_for_itself(tree: Tree) -> None:
    many = [replace(desired(), student_number=str(n), login=f"u{n}") for n in range(45)]
    many = [changed(one, mail=(f"{one.login}@univ-exemple.fr",)) for one in many]
    tree.put(f"uid=autre,{PEOPLE}", uid="autre", mail="u44@univ-exemple.fr")
    found = directory_on().foresee(many, {})
    assert {n for n, result in found.items() if isinstance(result, EntryRefused)} == {"44"}
    assert len(found) == 45


def test_a_search_for_holders_that_fails_is_no_freedom(tree: Tree) -> None:
    tree.before = lambda asked: 50 if asked.verb == "search" else None
    with pytest.raises(Misconfigured):
        directory_on().foresee([desired()], {})
