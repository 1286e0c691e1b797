"""How one student's entry is written: only ours, only what differs, and never over what nobody has read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ldap3.core.exceptions import LDAPSocketReceiveError

from consumers.directory.entry import CLASSES
from consumers.directory.objects import LOCKED_FOR_GOOD, EntryObject, shown
from consumers.directory.trial import policy_of
from consumers.kit.connector import Change, Refused
from consumers.kit.deadline import Deadline
from pipeline.errors import Misconfigured, TargetDown
from pipeline.target import Dead, Task
from sesame.testing.servers.ldap_kit import (
    DN,
    HELD,
    LOGIN,
    NUMBER,
    PEOPLE,
    PROBE,
    PROVISIONER,
    Asked,
    Tree,
    apply,
    client_on,
    desired,
    directory_on,
    entries_on,
    student,
    tree_of,
)
from sesame.testing.servers.narrowing import expect, present


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> Tree:
    return tree_of(monkeypatch)


def close(*numbers: str) -> Mapping[str, Refused]:
    """Shut every entry of these."""
    directory, students = directory_on(), [student(number) for number in numbers or (NUMBER,)]
    found = directory.read(students, Deadline.after(30.0))
    shutting = [
        Change(one, each, {}, open=False) for one in students for each in found[one.student_number] or (None,)
    ]
    return directory.close(shutting, Deadline.after(30.0))


def read(adopted: Mapping[str, str] | None = None) -> tuple[EntryObject, ...]:
    return entries_on().of([student()], adopted or {})[NUMBER]


def refusal(said: Refused | bool, *, lasting: bool = True) -> str:
    """Why a write was refused."""
    assert isinstance(said, Refused)
    assert said.lasting is lasting
    assert not said.unknown
    return said.cause


def modified(asked: Asked) -> dict[str, list[tuple[str, list[str]]]]:
    return {
        name: [(op.removeprefix("MODIFY_"), values) for op, values in some]
        for name, some in asked.what.items()
    }


def test_an_entry_is_made_once_and_a_second_time_nothing_is_written(tree: Tree) -> None:
    one = desired(password=("ref-a", "{ARGON2}x"))
    assert apply(tree, one) is True
    entry = tree.entries[DN]
    assert entry["supannEtuId"] == [NUMBER]
    assert entry["uid"] == [LOGIN]
    assert entry["sesameVersion"] == ["3"]
    assert (entry["userPassword"], entry["sesameCredentialRef"]) == (["{ARGON2}x"], ["ref-a"])
    assert sorted(entry["objectClass"]) == sorted(CLASSES)
    assert "pwdAccountLockedTime" not in entry
    (found,) = read()
    assert (found.dn, found.logins, found.student_numbers, found.version) == (DN, (LOGIN,), (NUMBER,), 3)
    assert found.credential_ref == "ref-a"
    assert apply(tree, one) is False
    assert len(tree.wrote()) == 1


def test_a_closed_account_s_entry_is_made_shut(tree: Tree) -> None:
    apply(tree, desired(locked=True))
    assert tree.entries[DN]["pwdAccountLockedTime"] == [LOCKED_FOR_GOOD]
    assert read()[0].locked


@pytest.mark.parametrize(
    ("value", "locked"), [(LOCKED_FOR_GOOD, True), ("20261125120000Z", False)], ids=["ours", "the server's"]
)
def test_a_lock_that_the_server_lifts_by_itself_is_no_lock(tree: Tree, value: str, *, locked: bool) -> None:
    apply(tree, desired())
    tree.write(DN, pwdAccountLockedTime=value)
    assert read()[0].locked is locked


def test_only_what_differs_is_written_and_only_on_the_revision_that_was_read(tree: Tree) -> None:
    apply(tree, desired())
    csn = tree.entries[DN]["entryCSN"][0]
    assert apply(tree, desired(version=4, sn=("Roux-Petit",))) is True
    asked = tree.wrote("modify")[-1]
    assert modified(asked) == {"sn": [("REPLACE", ["Roux-Petit"])], "sesameVersion": [("REPLACE", ["4"])]}
    assert asked.asserted == csn


@pytest.mark.parametrize("attribute", ["sn", "mail"])
def test_a_value_in_another_case_is_written_as_it_should_be(tree: Tree, attribute: str) -> None:
    apply(tree, desired())
    wanted = tree.entries[DN][attribute]
    tree.write(DN, **{attribute: [value.upper() for value in wanted]})
    assert apply(tree, desired()) is True
    assert tree.entries[DN][attribute] == wanted


def test_an_attribute_that_must_be_absent_is_taken_away(tree: Tree) -> None:
    apply(tree, desired(sesameHold=("suspended",)))
    apply(tree, desired(version=4))
    assert "sesameHold" not in tree.entries[DN]


def test_a_unique_value_is_guarded_by_the_values_that_were_read(tree: Tree) -> None:
    apply(tree, desired())
    apply(tree, desired(version=4, mail=("h.roux@univ-exemple.fr",)))
    asked = tree.wrote("modify")[-1]
    assert asked.asserted is None
    assert modified(asked) == {
        "mail": [("DELETE", ["hugo.roux@univ-exemple.fr"]), ("ADD", ["h.roux@univ-exemple.fr"])],
        "sesameVersion": [("DELETE", ["3"]), ("ADD", ["4"])],
    }


def test_without_a_new_version_the_guard_names_the_one_that_was_read(tree: Tree) -> None:
    apply(tree, desired())
    apply(tree, desired(mail=("h.roux@univ-exemple.fr",)))
    assert modified(tree.wrote("modify")[-1])["sesameVersion"] == [("DELETE", ["3"]), ("ADD", ["3"])]


def test_everything_at_once_is_guarded_by_what_was_read_where_that_can_be_read(tree: Tree) -> None:
    apply(tree, desired(supannAutreMail=("a@x.fr", "b@x.fr")))
    tree.write(DN, objectClass=["inetOrgPerson", "eduPerson", "supannPerson"])
    wanted = desired(
        version=4,
        locked=True,
        supannAutreMail=("b@x.fr", "c@x.fr"),
        sn=("Roux-Petit",),
        sesameHold=("suspended",),
        cn=(),
    )
    assert apply(tree, wanted) is True
    assert modified(tree.wrote("modify")[-1]) == {
        "objectClass": [("ADD", ["sesameAccount"])],
        "supannAutreMail": [("DELETE", ["a@x.fr"]), ("ADD", ["c@x.fr"])],
        "sn": [("DELETE", ["Roux"]), ("ADD", ["Roux-Petit"])],
        "sesameHold": [("ADD", ["suspended"])],
        "cn": [("DELETE", ["Roux Hugo"])],
        "sesameVersion": [("DELETE", ["3"]), ("ADD", ["4"])],
        "pwdAccountLockedTime": [("REPLACE", [LOCKED_FOR_GOOD])],
    }


def test_a_first_reference_is_added_and_a_missing_class_hides_no_guard(tree: Tree) -> None:
    apply(tree, desired())
    tree.write(DN, objectClass=["inetOrgPerson", "eduPerson", "supannPerson"])
    apply(tree, desired(password=("ref-a", "{ARGON2}a"), mail=("new@x.fr",)))
    assert modified(tree.wrote("modify")[-1]) == {
        "sesameVersion": [("DELETE", ["3"]), ("ADD", ["3"])],
        "objectClass": [("ADD", ["sesameAccount"])],
        "mail": [("DELETE", ["hugo.roux@univ-exemple.fr"]), ("ADD", ["new@x.fr"])],
        "userPassword": [("REPLACE", ["{ARGON2}a"])],
        "sesameCredentialRef": [("ADD", ["ref-a"])],
    }
    apply(tree, desired(password=("ref-b", "{ARGON2}b"), mail=("newer@x.fr",)))
    assert modified(tree.wrote("modify")[-1])["sesameCredentialRef"] == [
        ("DELETE", ["ref-a"]),
        ("ADD", ["ref-b"]),
    ]


def test_a_closed_account_is_given_no_password_since_that_would_unlock_it(tree: Tree) -> None:
    apply(tree, desired(locked=True, password=("ref-a", "{ARGON2}a")))
    apply(tree, desired(4, locked=True, password=("ref-b", "{ARGON2}b")))
    assert not {"userPassword", "sesameCredentialRef"} & tree.entries[DN].keys()


def test_a_value_that_is_no_text_is_shown_all_the_same() -> None:
    entry = shown(DN, {"sn": [b"Ga\xebl", "Gaël".encode()]})
    assert entry.attributes["sn"] == ("Gaël", "Ga\ufffdl")


def test_a_password_and_its_reference_are_written_together_or_not_at_all(tree: Tree) -> None:
    apply(tree, desired())
    assert apply(tree, desired(password=("ref-b", None))) is False
    assert apply(tree, desired(password=("ref-b", "{ARGON2}b"))) is True
    assert modified(tree.wrote("modify")[-1]) == {
        "userPassword": [("REPLACE", ["{ARGON2}b"])],
        "sesameCredentialRef": [("REPLACE", ["ref-b"])],
    }
    assert apply(tree, desired(password=("ref-b", "{ARGON2}b"))) is False


def test_opening_takes_our_lock_away_and_closing_puts_it_over_the_server_s(tree: Tree) -> None:
    apply(tree, desired(locked=True))
    apply(tree, desired(version=4))
    assert modified(tree.wrote("modify")[-1])["pwdAccountLockedTime"] == [("DELETE", [])]
    tree.write(DN, pwdAccountLockedTime="20261125120000Z")
    apply(tree, desired(version=5, locked=True))
    assert tree.entries[DN]["pwdAccountLockedTime"] == [LOCKED_FOR_GOOD]


def test_a_missing_class_is_added_whatever_the_case_of_the_others(tree: Tree) -> None:
    apply(tree, desired())
    tree.write(DN, objectClass=["INETORGPERSON", "eduperson", "supannPerson"])
    apply(tree, desired())
    assert modified(tree.wrote("modify")[-1]) == {"objectClass": [("ADD", ["sesameAccount"])]}


# --- whose entry it is ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [None, "22699999"], ids=["nobody's", "another student's"])
def test_an_entry_that_does_not_carry_the_number_is_never_written(tree: Tree, number: str | None) -> None:
    tree.put(DN, **HELD, **({} if number is None else {"supannEtuId": number}))
    before = tree.entries[DN]
    result = apply(tree, desired())
    assert refusal(result) == "identity_collision"
    assert tree.entries[DN] == before
    assert not tree.wrote("modify")


def test_an_entry_with_another_login_is_not_renamed(tree: Tree) -> None:
    tree.put(f"uid=autre,{PEOPLE}", **{**HELD, "uid": "autre"}, supannEtuId=NUMBER, sesameVersion="1")
    result = apply(tree, desired())
    assert refusal(result) == "login_mismatch"
    assert not tree.wrote()


def test_a_login_is_the_same_in_another_case(tree: Tree) -> None:
    tree.put(DN, **{**HELD, "uid": LOGIN.upper()}, supannEtuId=NUMBER)
    assert apply(tree, desired()) is True


def test_two_entries_with_one_number_are_written_neither(tree: Tree) -> None:
    for login in (LOGIN, "autre"):
        tree.put(f"uid={login},{PEOPLE}", **{**HELD, "uid": login}, supannEtuId=NUMBER)
    outcome = expect(Dead, directory_on().handler().handle([Task(student())])[NUMBER])
    assert outcome.cause == "student_number_ambiguous"
    assert not tree.wrote()
    assert len(read()) == 2


@pytest.mark.parametrize("version", [4, 5])
def test_an_entry_that_shows_a_newer_version_is_left_alone(tree: Tree, version: int) -> None:
    tree.put(DN, **HELD, supannEtuId=NUMBER, sesameVersion=str(version))
    result = apply(tree, desired())
    assert refusal(result, lasting=False) == "superseded"
    assert not tree.wrote()


def test_an_adopted_entry_gets_the_number_and_only_that_very_entry(tree: Tree) -> None:
    other = f"uid={LOGIN},ou=staff,{PEOPLE}"
    tree.put(f"ou=staff,{PEOPLE}", objectClass="top")
    tree.put(other, **HELD)
    assert read({NUMBER: other})[0].dn == other
    assert apply(tree, desired(), other.upper()) is True
    assert tree.entries[other]["supannEtuId"] == [NUMBER]
    assert DN not in tree.entries


def test_an_adopted_entry_that_is_somebody_else_s_meanwhile_is_left_and_not_shown(tree: Tree) -> None:
    tree.put(DN, **HELD, supannEtuId="22699999")
    result = apply(tree, desired(), DN)
    assert refusal(result) == "identity_collision"
    assert [each.student_numbers for each in read({NUMBER: DN})] == [("22699999",)], "as another one's"


def test_an_adopted_entry_of_another_login_that_carries_another_number_is_not_shown(tree: Tree) -> None:
    other = f"uid=autre,{PEOPLE}"
    tree.put(other, **{**HELD, "uid": "autre"}, supannEtuId="22699999")
    assert read({NUMBER: other}) == ()


def test_the_login_s_entry_is_not_taken_when_another_one_was_adopted(tree: Tree) -> None:
    tree.put(DN, **HELD)
    result = apply(tree, desired(), f"uid=gone,{PEOPLE}")
    assert refusal(result) == "identity_collision"


def test_an_adopted_entry_is_not_shown_beside_one_that_carries_the_number(tree: Tree) -> None:
    apply(tree, desired())
    other = f"uid=autre,{PEOPLE}"
    tree.put(other, **{**HELD, "uid": "autre"})
    assert [entry.dn for entry in read({NUMBER: other})] == [DN]


# --- somebody is faster -----------------------------------------------------------------------------------


def once(tree: Tree, verb: str, act: Any) -> None:
    """Just before the next operation of that kind, somebody does something."""
    left = [act]

    def before(asked: Asked) -> int | None:
        return left.pop()() if asked.verb == verb and left else None

    tree.before = before


def test_what_somebody_wrote_meanwhile_is_read_again_before_it_is_written_over(tree: Tree) -> None:
    apply(tree, desired())
    once(tree, "modify", lambda: tree.write(DN, sn="Other", description="theirs"))
    assert apply(tree, desired(version=4, sn=("Roux-Petit",))) is True
    assert tree.entries[DN]["sn"] == ["Roux-Petit"]
    assert tree.entries[DN]["description"] == ["theirs"]
    assert len(tree.wrote("modify")) == 2


@pytest.mark.parametrize("attribute", ["sn", "mail"])
def test_a_newer_version_that_came_meanwhile_is_not_taken_back(tree: Tree, attribute: str) -> None:
    apply(tree, desired())
    once(tree, "modify", lambda: tree.write(DN, sesameVersion="9"))
    values: dict[str, Any] = {attribute: ("new",)}
    result = apply(tree, desired(version=4, **values))
    assert refusal(result, lasting=False) == "superseded"
    assert tree.entries[DN]["sesameVersion"] == ["9"]
    assert tree.entries[DN][attribute] != ["new"]


def test_an_entry_that_was_given_to_somebody_else_meanwhile_is_left(tree: Tree) -> None:
    apply(tree, desired())
    once(tree, "modify", lambda: tree.write(DN, supannEtuId="22699999"))
    assert refusal(apply(tree, desired(version=4, sn=("new",)))) == "identity_collision"
    assert tree.entries[DN]["sn"] == ["Roux"]


def test_an_entry_that_was_made_meanwhile_is_read_and_brought_up_to_date(tree: Tree) -> None:
    once(tree, "add", lambda: tree.put(DN, **HELD, supannEtuId=NUMBER, sesameVersion="1"))
    assert apply(tree, desired()) is True
    assert tree.entries[DN]["sesameVersion"] == ["3"]


def test_an_entry_that_was_removed_meanwhile_is_made_again(tree: Tree) -> None:
    apply(tree, desired())
    once(tree, "modify", lambda: tree.entries.pop(DN) and None)
    assert apply(tree, desired(version=4, sn=("Roux-Petit",))) is True
    assert tree.entries[DN]["sn"] == ["Roux-Petit"]


def test_who_is_always_faster_leaves_the_student_for_another_turn(tree: Tree) -> None:
    apply(tree, desired())

    def before(asked: Asked) -> None:
        if asked.verb == "modify":
            tree.write(DN, description=str(len(tree.asked)))

    tree.before = before
    result = apply(tree, desired(version=4, sn=("new",)))
    assert refusal(result, lasting=False) == "directory_conflict"
    assert len(tree.wrote("modify")) == 16


def test_a_server_whose_assertion_fails_on_an_unchanged_entry_is_guarded_by_values(tree: Tree) -> None:
    apply(tree, desired())
    tree.before = lambda asked: 122 if asked.asserted else None
    assert apply(tree, desired(version=4, sn=("Roux-Petit",))) is True
    first, second = tree.wrote("modify")
    assert first.asserted is not None
    assert modified(second)["sesameVersion"] == [("DELETE", ["3"]), ("ADD", ["4"])]


def test_a_version_that_another_writer_has_taken_is_a_conflict_and_a_value_of_others_is_not(
    tree: Tree,
) -> None:
    apply(tree, desired())
    once(tree, "modify", lambda: (19, "sesameVersion: multiple values provided"))
    assert apply(tree, desired(version=4, mail=("new@x.fr",))) is True
    once(
        tree,
        "modify",
        lambda: (19, "some attributes not unique, non-unique attributes found with (|(mail=x))"),
    )
    result = apply(tree, desired(version=5, mail=("taken@x.fr",)))
    assert refusal(result) == "mail_taken"


# --- no answer --------------------------------------------------------------------------------------------


def test_after_a_write_without_an_answer_the_entry_is_read_before_anything_is_written(tree: Tree) -> None:
    tree.hangs_up_after = 1
    assert apply(tree, desired()) is True
    assert len(tree.wrote()) == 1
    tree.hangs_up_after = 1
    assert apply(tree, desired(version=4, sn=("new",))) is True
    assert len(tree.wrote()) == 2


def test_what_never_has_an_answer_is_unknown(tree: Tree) -> None:
    apply(tree, desired())

    def lost(asked: Asked) -> None:
        if asked.verb == "modify":
            raise LDAPSocketReceiveError("closed")

    tree.before = lost
    result = expect(Refused, apply(tree, desired(version=4, sn=("new",))))
    assert (result.cause, result.unknown) == ("outcome_unknown", True)
    assert len(tree.wrote("modify")) == 3


def test_what_is_busy_is_tried_a_few_times_and_is_not_unknown(tree: Tree) -> None:
    apply(tree, desired())
    tree.before = lambda asked: 51 if asked.verb == "modify" else None
    result = apply(tree, desired(version=4, sn=("new",)))
    assert refusal(result, lasting=False) == "directory_busy"
    assert len(tree.wrote("modify")) == 3


@pytest.mark.parametrize(
    ("code", "raised"), [(51, TargetDown), (50, Misconfigured), (4, Misconfigured), (32, Misconfigured)]
)
def test_a_branch_that_cannot_be_read_is_no_empty_branch(
    tree: Tree, code: int, raised: type[Exception]
) -> None:
    tree.before = lambda asked: code if asked.verb == "search" else None
    with pytest.raises(raised):
        read()
    with pytest.raises(raised):
        list(directory_on().objects())


# --- many -------------------------------------------------------------------------------------------------


def many(tree: Tree, count: int) -> list[str]:
    numbers = [str(22_600_000 + n) for n in range(count)]
    for number in numbers:
        tree.put(f"uid=u{number},{PEOPLE}", uid=f"u{number}", supannEtuId=number)
    return numbers


def test_however_many_are_asked_for_each_is_found_and_who_is_not_there_has_none(tree: Tree) -> None:
    numbers = many(tree, 250)
    found = entries_on().of([student(n, f"l{n}") for n in [*numbers, "22999999"]], {})
    assert {n: [e.dn for e in entries] for n, entries in found.items()} == {
        **{n: [f"uid=u{n},{PEOPLE}"] for n in numbers},
        "22999999": [],
    }
    searched = [each.what.count("supannEtuId=") for each in tree.asked if each.verb == "search"]
    assert searched == [100, 100, 51, 0], "and one by login, for the last"


def test_everybody_is_gone_through_page_by_page_and_nobody_is_lost(tree: Tree) -> None:
    numbers = many(tree, 103)
    tree.put(f"uid=staff,{PEOPLE}", uid="staff")
    assert sorted(e.logins[0] for e in directory_on().objects()) == sorted(
        ["staff", *(f"u{n}" for n in numbers)]
    )
    assert sum(each.verb == "search" for each in tree.asked) == 3


def test_a_page_that_fails_is_no_end(tree: Tree) -> None:
    many(tree, 1203)
    tree.before = lambda _asked: 51 if sum(each.verb == "search" for each in tree.asked) == 2 else None
    with pytest.raises(TargetDown):
        list(directory_on().objects())


def test_a_number_of_another_entry_of_the_answer_is_given_to_nobody(tree: Tree) -> None:
    tree.put(DN, **HELD, supannEtuId=[NUMBER, "22600002"])
    assert list(entries_on().of([student()], {})) == [NUMBER]


# --- shutting ---------------------------------------------------------------------------------------------


def test_access_is_shut_in_one_small_write_and_once(tree: Tree) -> None:
    apply(tree, desired())
    assert close() == {}
    assert modified(tree.wrote("modify")[-1]) == {
        "pwdAccountLockedTime": [("REPLACE", [LOCKED_FOR_GOOD])],
        "sesameMailEnabled": [("REPLACE", ["FALSE"])],
    }
    assert close() == {}
    assert len(tree.wrote("modify")) == 1


@pytest.mark.parametrize(
    "half",
    [{"pwdAccountLockedTime": LOCKED_FOR_GOOD}, {"sesameMailEnabled": "FALSE"}],
    ids=["locked", "no mail"],
)
def test_what_is_half_shut_is_shut(tree: Tree, half: dict[str, str]) -> None:
    apply(tree, desired())
    tree.write(DN, **half)
    assert close() == {}
    assert tree.entries[DN]["pwdAccountLockedTime"] == [LOCKED_FOR_GOOD]
    assert tree.entries[DN]["sesameMailEnabled"] == ["FALSE"]


def test_an_entry_without_our_class_gets_it_to_be_shut(tree: Tree) -> None:
    tree.put(DN, **{**HELD, "objectClass": ["inetOrgPerson"]}, supannEtuId=NUMBER)
    close()
    assert "sesameAccount" in tree.entries[DN]["objectClass"]


def test_every_entry_with_the_number_is_shut_and_who_has_none_has_no_access(tree: Tree) -> None:
    for login in (LOGIN, "autre"):
        tree.put(f"uid={login},{PEOPLE}", **{**HELD, "uid": login}, supannEtuId=NUMBER)
    assert close(NUMBER, "22999999") == {}
    assert [tree.entries[f"uid={login},{PEOPLE}"]["sesameMailEnabled"] for login in (LOGIN, "autre")] == [
        ["FALSE"],
        ["FALSE"],
    ]


def test_one_entry_that_is_shut_already_does_not_hide_the_next(tree: Tree) -> None:
    for login, mail in ((LOGIN, "FALSE"), ("autre", "TRUE")):
        shut = {"pwdAccountLockedTime": LOCKED_FOR_GOOD} if mail == "FALSE" else {}
        dn = f"uid={login},{PEOPLE}"
        tree.put(dn, **{**HELD, "uid": login}, supannEtuId=NUMBER, sesameMailEnabled=mail, **shut)
    assert close() == {}
    assert tree.entries[f"uid=autre,{PEOPLE}"]["sesameMailEnabled"] == ["FALSE"]
    assert len(tree.wrote()) == 1


def test_a_shutting_that_fails_says_so(tree: Tree) -> None:
    apply(tree, desired())
    tree.before = lambda asked: 51 if asked.verb == "modify" else None
    assert refusal(close()[NUMBER], lasting=False) == "directory_busy"
    tree.before = lambda asked: (65, "") if asked.verb == "modify" else None
    assert refusal(close()[NUMBER]) == "schema_violation"


# --- the probe --------------------------------------------------------------------------------------------


def test_the_probe_writes_its_own_entry_and_sees_it(tree: Tree) -> None:
    directory_on().probe()
    (asked,) = tree.wrote()
    assert asked.dn == PROBE
    assert tree.entries[PROBE]["description"][0].startswith("probe 0")


def test_a_mark_that_is_not_shown_is_an_outage_and_a_later_one_will_do(tree: Tree) -> None:
    tree.shown = lambda _dn, values: {**values, "description": ["probe 00000000000000000999 f"]}
    with pytest.raises(TargetDown):
        directory_on().probe()
    tree.shown = lambda _dn, values: {name: some for name, some in values.items() if name != "description"}
    with pytest.raises(TargetDown):
        directory_on().probe()
    tree.shown = lambda _dn, values: {**values, "description": ["probe 99999999999999999999 0"]}
    directory_on().probe()


def test_a_mark_that_is_shown_late_is_looked_for_again(tree: Tree) -> None:
    looks: list[str] = []

    def shown(dn: str, values: dict[str, list[str]]) -> dict[str, list[str]]:
        looks.append(dn)
        return values if looks.count(PROBE) > 2 else {**values, "description": []}

    tree.shown = shown
    directory_on().probe()


@pytest.mark.parametrize("missing", [PROBE, PEOPLE])
def test_the_probe_finds_out_what_is_missing(tree: Tree, missing: str) -> None:
    del tree.entries[missing]
    with pytest.raises(Misconfigured):
        directory_on().probe()


@pytest.mark.usefixtures("tree")
def test_the_branch_of_groups_is_probed_where_there_is_one() -> None:
    with pytest.raises(Misconfigured):
        directory_on(groups_dn=f"ou=none,{PEOPLE}").probe()


def test_a_directory_that_is_only_observed_is_probed_without_a_write(tree: Tree) -> None:
    directory_on(client=client_on(read_only=True)).probe()
    assert not tree.wrote()
    assert any(each.verb == "search" for each in tree.asked)


# --- the policy -------------------------------------------------------------------------------------------


def test_the_usual_policy_applies_where_an_entry_names_none(tree: Tree) -> None:
    usual, special = f"cn=usual,{PEOPLE}", f"cn=special,{PEOPLE}"
    tree.put(usual, objectClass="pwdPolicy", pwdMaxAge="1", pwdLockoutDuration="2")
    tree.put(special, objectClass="pwdPolicy", pwdMaxAge="9")
    tree.put(DN, **HELD, supannEtuId=NUMBER)
    directory = directory_on(policy_dn=usual)
    policy = present(directory.look(student())[1])
    assert (policy.age_s_max, policy.lockout_s) == (1, 2)
    tree.write(DN, pwdPolicySubentry=special)
    policy = present(directory.look(student())[1])
    assert (policy.age_s_max, policy.lockout_s) == (9, 0)
    assert policy_of(client_on(), f"cn=none,{PEOPLE}") is None
    tree.write(DN, pwdPolicySubentry=[])
    assert directory_on().look(student())[1] is None


def test_the_provisioner_binds_before_anything_is_asked_and_by_tls(tree: Tree) -> None:
    read()
    assert [each.verb for each in tree.asked][:4] == ["open", "start_tls", "bind", "search"]
    assert (tree.asked[2].dn, tree.asked[2].what) == (PROVISIONER, "mot de passe")
