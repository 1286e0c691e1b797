"""Groups of the directory: ours are written, member by member; a group of somebody else's never is."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.directory.connector import DirectoryConnector
from consumers.directory.entries import Entries
from consumers.directory.objects import GROUP_NOT_OURS, EntryObject
from consumers.kit.connector import Change, Held, Refused
from consumers.kit.deadline import Deadline
from pipeline.errors import Misconfigured
from sesame.testing.servers.ldap_kit import (
    DN,
    GROUPS,
    HELD,
    NUMBER,
    PEOPLE,
    PROVISIONER,
    Tree,
    apply,
    desired,
    directory_on,
    entries_on,
    group_of,
    student,
    tree_of,
)

INFO, DROIT = f"cn=info,{GROUPS}", f"cn=droit,{GROUPS}"


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> Tree:
    return tree_of(monkeypatch)


def static() -> Entries:
    return entries_on(group_kind="static")


def joined(tree: Tree, **groups: str) -> Refused | bool:
    return apply(tree, desired(groups=groups), entries=static())


def shown() -> tuple[str, ...] | None:
    (entry,) = static().of([student()], {})[NUMBER]
    return entry.groups


def everybody(directory: DirectoryConnector) -> dict[str, tuple[str, ...] | None]:
    return {each.dn: each.groups for each in directory.objects()}


def group(tree: Tree, dn: str, *members: str, owner: str = PROVISIONER) -> None:
    name = dn.partition(",")[0].removeprefix("cn=")
    tree.put(dn, objectClass="groupOfNames", cn=name, owner=owner, member=[dn, *members])


# --- static -----------------------------------------------------------------------------------------------


def test_a_group_is_made_with_its_first_member_and_joined_by_the_next(tree: Tree) -> None:
    assert joined(tree, info="Informatique") is True
    assert tree.entries[INFO]["member"] == [INFO, DN]
    assert tree.entries[INFO]["owner"] == [PROVISIONER]
    assert tree.entries[INFO]["description"] == ["Informatique"]
    assert tree.entries[INFO]["objectClass"] == ["groupOfNames"]
    assert shown() == ("info",)
    assert joined(tree, info="Informatique") is False


def test_a_member_is_added_beside_the_others_and_taken_out_alone(tree: Tree) -> None:
    other = f"uid=autre,{PEOPLE}"
    group(tree, INFO, other)
    assert joined(tree, info="") is True
    assert tree.entries[INFO]["member"] == [INFO, other, DN]
    assert joined(tree) is True
    assert tree.entries[INFO]["member"] == [INFO, other]
    assert shown() == ()


def test_who_changes_group_leaves_the_former_one(tree: Tree) -> None:
    joined(tree, info="", zero="")
    assert joined(tree, droit="", zero="") is True
    assert shown() == ("droit", "zero")
    assert DN not in tree.entries[INFO]["member"]


def test_a_group_that_is_there_hides_no_other_one_and_a_joining_alone_is_a_change(tree: Tree) -> None:
    joined(tree, droit="")
    assert joined(tree, droit="", info="", zero="") is True
    assert shown() == ("droit", "info", "zero")
    assert joined(tree, droit="", info="", zero="") is False
    assert joined(tree) is True
    assert "description" not in tree.entries[INFO]


def test_a_membership_is_kept_whatever_the_case_of_the_group(tree: Tree) -> None:
    joined(tree)
    group(tree, f"cn=INFO,{GROUPS}", DN)
    assert joined(tree, info="") is False


def test_a_group_of_somebody_else_s_is_left_and_said(tree: Tree) -> None:
    group(tree, INFO, owner=f"cn=other,{PEOPLE}")
    assert joined(tree, info="", droit="") is True
    assert tree.entries[INFO]["member"] == [INFO]
    assert shown() == ("droit",)


def test_nobody_is_taken_out_of_a_group_of_somebody_else_s(tree: Tree) -> None:
    group(tree, INFO, DN, owner=f"cn=other,{PEOPLE}")
    assert joined(tree) is True  # the entry
    assert tree.entries[INFO]["member"] == [INFO, DN]
    assert shown() == ()


def test_a_group_that_lost_its_owner_meanwhile_is_left_when_it_is_left(tree: Tree) -> None:
    joined(tree, info="")

    def before(asked: Any) -> None:
        if asked.verb == "modify" and asked.dn == INFO:
            tree.write(INFO, owner=f"cn=other,{PEOPLE}")

    tree.before = before
    assert joined(tree) is True, "it was tried"
    assert DN in tree.entries[INFO]["member"]


def test_a_group_that_somebody_made_at_the_same_moment_is_joined(tree: Tree) -> None:
    def before(asked: Any) -> None:
        if asked.verb == "add" and asked.dn == INFO and INFO not in tree.entries:
            group(tree, INFO)

    tree.before = before
    assert joined(tree, info="") is True
    assert DN in tree.entries[INFO]["member"]


def test_who_became_a_member_meanwhile_is_one(tree: Tree) -> None:
    joined(tree)

    def before(asked: Any) -> None:
        if asked.verb == "modify" and asked.dn == INFO:
            group(tree, INFO, DN)

    tree.before = before
    assert joined(tree, info="") is True, "it was tried"
    assert shown() == ("info",)


def test_a_refusal_of_a_group_is_the_student_s(tree: Tree) -> None:
    joined(tree)
    tree.before = lambda asked: 65 if asked.dn == INFO else None
    assert isinstance(joined(tree, info=""), Refused)
    tree.before = lambda _asked: None
    joined(tree, info="")
    tree.before = lambda asked: 65 if asked.dn == INFO else None
    assert isinstance(joined(tree), Refused)


def test_an_entry_that_is_refused_joins_nothing(tree: Tree) -> None:
    tree.put(DN, **HELD, supannEtuId="22699999")
    assert isinstance(joined(tree, info=""), Refused)
    assert INFO not in tree.entries


def test_an_adopted_entry_is_the_member_and_not_its_namesake(tree: Tree) -> None:
    other = f"uid=hugo.roux,ou=staff,{PEOPLE}"
    tree.put(f"ou=staff,{PEOPLE}", objectClass="top")
    tree.put(other, **HELD)
    for version in (3, 4):
        apply(tree, desired(version, groups={"info": ""}), other, entries=static())
    assert tree.entries[INFO]["member"] == [INFO, other]


def test_everybody_is_shown_with_their_groups(tree: Tree) -> None:
    joined(tree, info="", droit="")
    tree.put(f"uid=autre,{PEOPLE}", uid="autre")
    for n in range(30):
        group(tree, f"cn=g{n},{GROUPS}", DN.upper().replace(",", ", "))
    group(tree, f"cn=theirs,{GROUPS}", DN, owner=f"cn=other,{PEOPLE}")
    assert everybody(directory_on(group_kind="static")) == {
        DN: tuple(sorted(["info", "droit", *(f"g{n}" for n in range(30))])),
        f"uid=autre,{PEOPLE}": (),
    }


def test_where_groups_are_searches_nobody_is_shown_with_any(tree: Tree) -> None:
    apply(tree, desired())
    (entry,) = entries_on().of([student()], {})[NUMBER]
    assert entry.groups is None
    assert everybody(directory_on()) == {DN: None}


def test_groups_that_cannot_be_read_are_no_absence_of_groups(tree: Tree) -> None:
    joined(tree, info="")
    tree.before = lambda asked: 50 if asked.verb == "search" and asked.dn == GROUPS else None
    with pytest.raises(Misconfigured):
        shown()
    with pytest.raises(Misconfigured):
        list(directory_on(group_kind="static").objects())


# --- dynamic ----------------------------------------------------------------------------------------------


def searched(tree: Tree, **groups: str) -> Refused | bool:
    return apply(tree, desired(groups=groups))


def test_a_search_is_made_once_and_is_of_the_group_s_own_key(tree: Tree) -> None:
    assert searched(tree, info="Informatique") is True
    assert tree.entries[INFO]["memberURL"] == [f"ldap:///{PEOPLE}??sub?(sesameGroup=info)"]
    assert tree.entries[INFO]["description"] == ["Informatique"]
    assert tree.entries[INFO]["objectClass"] == ["groupOfURLs"]
    searched(tree, droit="")
    assert "description" not in tree.entries[DROIT]
    entries = entries_on()
    for _ in range(2):
        apply(tree, desired(groups={"info": ""}), entries=entries)
    assert sum(each.dn == INFO for each in tree.wrote("add")) == 2  # once by each process


def test_something_else_of_that_name_is_left_and_said(tree: Tree) -> None:
    group(tree, INFO)
    directory, one = directory_on(), student(groups=(group_of("info"), group_of("droit")))
    for _ in range(2):
        searched(tree, info="", droit="")
        [found] = directory.read([one], Deadline.after(30.0))[NUMBER]
        assert found.held == Held(GROUP_NOT_OURS, ("info",), 3600.0)
        assert found.fields["groups"] == ("droit", "info"), "the others are joined"
    assert tree.entries[INFO]["objectClass"] == ["groupOfNames"]


def test_a_search_that_is_refused_is_the_student_s_and_the_entry_is_not_written(tree: Tree) -> None:
    tree.before = lambda asked: 65 if asked.dn == INFO else None
    assert isinstance(searched(tree, info=""), Refused)
    assert DN not in tree.entries


# --- foresight --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_a_group_of_somebody_else_s_is_foreseen_and_nothing_is_written(tree: Tree, kind: str) -> None:
    theirs, ours = f"cn=Theirs,{GROUPS}", f"cn=ours,{GROUPS}"
    group(tree, theirs, owner=f"cn=other,{PEOPLE}")
    if kind == "static":
        group(tree, ours, owner=PROVISIONER.upper().replace(",", ", "))
    else:
        tree.put(ours, objectClass="GroupOfUrls", cn="ours")
    wanted = student(groups=tuple(group_of(key) for key in ("ours", "Theirs", "new")))
    found = directory_on(group_kind=kind).foresee([Change(wanted, None, {})], Deadline.after(30.0))
    assert found == {NUMBER: Held(GROUP_NOT_OURS, ("Theirs",))}
    assert not tree.wrote()


def taken(one: Change, found: EntryObject | None = None) -> dict[str, str]:
    """By student number, the causes that are foreseen."""
    foreseen = entries_on().taken([Change(one.account, found, one.fields)])
    return {number: refused.cause for number, refused in foreseen.items()}


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
    one = desired(
        supannAutreMail=("h.roux@univ-exemple.fr",), eduPersonPrincipalName=("hroux@univ-exemple.fr",)
    )
    assert taken(one) == {NUMBER: cause}
    assert not tree.wrote()


def test_a_number_that_an_entry_has_is_foreseen_where_another_one_is_to_get_it(tree: Tree) -> None:
    tree.put(DN, **HELD)
    (adopted,) = entries_on().of([student()], {NUMBER: DN})[NUMBER]
    tree.put(f"uid=autre,{PEOPLE}", uid="autre", supannEtuId=NUMBER)
    assert taken(desired(), adopted) == {NUMBER: "student_number_taken"}


def test_what_the_student_s_own_entry_has_stands_in_nobody_s_way(tree: Tree) -> None:
    apply(tree, desired())
    (own,) = entries_on().of([student()], {})[NUMBER]
    assert taken(desired(), own) == {}
    one = desired(mail=("new@univ-exemple.fr",), supannAutreMail=("hugo.roux@univ-exemple.fr",))
    assert taken(one, own) == {}


def test_each_of_a_large_batch_is_foreseen_for_itself(tree: Tree) -> None:
    many = [desired(number=str(n), login=f"u{n}", mail=(f"u{n}@univ-exemple.fr",)) for n in range(45)]
    tree.put(f"uid=autre,{PEOPLE}", uid="autre", mail="u44@univ-exemple.fr")
    assert entries_on().taken(many).keys() == {"44"}


def test_a_search_for_holders_that_fails_is_no_freedom(tree: Tree) -> None:
    tree.before = lambda asked: 50 if asked.verb == "search" else None
    with pytest.raises(Misconfigured):
        taken(desired())
