"""Groups that list their members, on a real server: joined and left one by one, never emptied, never anybody
else's."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier

import pytest

from consumers.directory.connector import DirectoryConnector
from consumers.directory.entries import Entries
from consumers.directory.objects import GROUP_NOT_OURS, EntryObject, ref_of
from consumers.kit.connector import Refused, TargetObject
from consumers.kit.deadline import Deadline
from consumers.kit.handler import COLLISION
from pipeline.target import Done, Handler, HandlerOutcome, Task, Waiting
from sandbox.process import PATIENCE_S
from sandbox.slapd import Slapd
from schemas.account import Account, Membership, Requirement, Stage
from sesame.login.port import Validated
from sesame.login.roles import roles_of
from sesame.testing.servers.directory_kit import (
    account,
    directory_of,
    fresh_number,
    put,
    seen,
)
from sesame.testing.servers.ldap_tools import as_provisioner, search

_FRESH = count(1)


@pytest.fixture
def directory(slapd: Slapd) -> Iterator[DirectoryConnector]:
    made = directory_of(slapd, group_kind="static")
    yield made
    made.disconnect()


@pytest.fixture
def handler(slapd: Slapd, directory: DirectoryConnector) -> Handler:
    return directory.handler()


def bring(handler: Handler, wanted: Account) -> HandlerOutcome:
    return handler.handle([Task(wanted)])[wanted.student_number]


def group(*, met: bool = True) -> Membership:
    name = f"etape-S{fresh_number()}{next(_FRESH)}-2026"
    return Membership(key=name, name="Licence 1", requires=Requirement.ADMINISTRATIVE, met=met)


def dn_of(slapd: Slapd, wanted: Account) -> str:
    return f"uid={wanted.login},{slapd.people_dn}"


def group_dn(slapd: Slapd, name: str) -> str:
    return f"cn={name},{slapd.groups_dn}"


def members(slapd: Slapd, name: str) -> set[str]:
    """The people in a group, as the server shows them; its own name, which is always there, apart."""
    [entry] = search(slapd, slapd.groups_dn, f"(cn={name})", "objectClass", "member", "owner").values()
    assert entry["objectClass"] == ["groupOfNames"]
    assert group_dn(slapd, name) in entry["member"]
    return set(entry["member"]) - {group_dn(slapd, name)}


def edit(slapd: Slapd, dn: str, *lines: str) -> None:
    text = "\n".join([f"dn: {dn}", "changetype: modify", *lines]) + "\n"
    as_provisioner(slapd, "ldapmodify", stdin=text)


def test_a_student_joins_and_leaves_one_by_one_and_the_last_one_leaves_no_broken_group(
    slapd: Slapd, handler: Handler
) -> None:
    one, two = group(), group()
    wanted = account(groups=(one, two, group(met=False)))
    other = account(groups=(one,))
    done = bring(handler, wanted)
    assert isinstance(done, Done)
    assert done.changed
    assert isinstance(bring(handler, other), Done)
    assert members(slapd, one.key) == {dn_of(slapd, wanted), dn_of(slapd, other)}
    assert members(slapd, two.key) == {dn_of(slapd, wanted)}
    left = wanted.model_copy(update={"groups": (one,), "version": 2})
    assert isinstance(bring(handler, left), Done)
    assert members(slapd, two.key) == set()
    gone = left.model_copy(update={"groups": (), "version": 3, "stage": Stage.EXPIRED})
    assert isinstance(bring(handler, gone), Done)
    assert members(slapd, one.key) == {dn_of(slapd, other)}
    back = gone.model_copy(update={"groups": (two,), "version": 4, "stage": Stage.ACTIVE})
    assert isinstance(bring(handler, back), Done)
    assert members(slapd, two.key) == {dn_of(slapd, wanted)}


def test_the_same_again_writes_nothing(slapd: Slapd, handler: Handler) -> None:
    wanted = account(groups=(group(), group()))
    first = bring(handler, wanted)
    [before] = search(slapd, slapd.groups_dn, f"(cn={wanted.groups[0].key})", "entryCSN").values()
    again = bring(handler, wanted)
    [after] = search(slapd, slapd.groups_dn, f"(cn={wanted.groups[0].key})", "entryCSN").values()
    assert isinstance(first, Done)
    assert isinstance(again, Done)
    assert (again.changed, again.digest, before) == (False, first.digest, after)


def test_the_person_shows_the_groups_too(slapd: Slapd, handler: Handler) -> None:
    wanted = account(groups=(group(),))
    bring(handler, wanted)
    [entry] = search(
        slapd, slapd.people_dn, f"(supannEtuId={wanted.student_number})", "memberOf", "sesameGroup"
    ).values()
    assert [dn.lower() for dn in entry["memberOf"]] == [group_dn(slapd, wanted.groups[0].key).lower()]
    assert entry["sesameGroup"] == [wanted.groups[0].key]


def test_what_others_did_to_a_membership_is_put_right(slapd: Slapd, handler: Handler) -> None:
    one, two = group(), group()
    wanted, other = account(groups=(one,)), account(groups=(two,))
    for each in (wanted, other):
        bring(handler, each)
    edit(slapd, group_dn(slapd, one.key), "delete: member", f"member: {dn_of(slapd, wanted)}")
    edit(slapd, group_dn(slapd, two.key), "add: member", f"member: {dn_of(slapd, wanted)}")
    assert handler.preview([wanted])[wanted.student_number].differs == ("groups",)
    repaired = bring(handler, wanted)
    assert isinstance(repaired, Done)
    assert repaired.changed
    assert members(slapd, one.key) == {dn_of(slapd, wanted)}
    assert members(slapd, two.key) == {dn_of(slapd, other)}


def test_a_group_that_somebody_removed_comes_back_with_its_next_member(
    slapd: Slapd, handler: Handler
) -> None:
    wanted = account(groups=(group(),))
    bring(handler, wanted)
    as_provisioner(slapd, "ldapdelete", group_dn(slapd, wanted.groups[0].key))
    assert isinstance(bring(handler, wanted), Done)
    assert members(slapd, wanted.groups[0].key) == {dn_of(slapd, wanted)}


@pytest.mark.parametrize("others", ["no owner", "another owner", "dynamic", "no group at all"])
def test_a_group_of_somebody_else_is_left_alone_and_the_student_waits_for_an_operator(
    slapd: Slapd, handler: Handler, others: str
) -> None:
    ours, theirs = group(), group()
    dn, somebody = group_dn(slapd, theirs.key), f"cn=cas,{slapd.provisioner_dn.partition(',')[2]}"
    lines = {
        "no owner": ["objectClass: groupOfNames", f"member: {somebody}"],
        "another owner": ["objectClass: groupOfNames", f"member: {somebody}", f"owner: {somebody}"],
        "dynamic": ["objectClass: groupOfURLs", f"memberURL: ldap:///{slapd.people_dn}??sub?(uid=nobody)"],
        "no group at all": ["objectClass: organizationalRole"],
    }[others]
    as_provisioner(slapd, "ldapadd", stdin="\n".join([f"dn: {dn}", f"cn: {theirs.key}", *lines]) + "\n")
    before = search(slapd, dn, "(objectClass=*)", "*", "entryCSN")
    wanted = account(groups=(ours, theirs))
    waiting = bring(handler, wanted)
    assert isinstance(waiting, Waiting)
    assert (waiting.reason, waiting.pending) == (GROUP_NOT_OURS, (theirs.key,))
    assert waiting.recheck_after_s is not None
    assert search(slapd, dn, "(objectClass=*)", "*", "entryCSN") == before
    assert members(slapd, ours.key) == {dn_of(slapd, wanted)}, "the rest is done"
    as_provisioner(slapd, "ldapdelete", dn)
    assert isinstance(bring(handler, wanted), Done)


def test_a_group_that_was_taken_from_us_is_not_written_any_more(slapd: Slapd, handler: Handler) -> None:
    wanted = account(groups=(group(),))
    bring(handler, wanted)
    dn = group_dn(slapd, wanted.groups[0].key)
    edit(slapd, dn, "delete: owner")
    gone = wanted.model_copy(update={"groups": (), "version": 2})
    assert isinstance(bring(handler, gone), Done)
    assert members(slapd, wanted.groups[0].key) == {dn_of(slapd, wanted)}


def test_of_many_who_join_at_once_everybody_is_in(slapd: Slapd) -> None:
    one = group()
    crowd = [account(groups=(one,)) for _ in range(16)]
    workers, barrier = [directory_of(slapd, group_kind="static") for _ in range(8)], Barrier(8)

    def work(place: int) -> list[object]:
        barrier.wait(timeout=PATIENCE_S)
        mine = crowd[2 * place : 2 * place + 2]
        return [put(workers[place], each) for each in mine]

    with ThreadPoolExecutor(8) as pool:
        results = [each for some in pool.map(work, range(8)) for each in some]
    leave = [each.model_copy(update={"groups": (), "version": 2}) for each in crowd[:8]]
    with ThreadPoolExecutor(8) as pool:
        results += pool.map(lambda at: put(workers[at], leave[at]), range(8))
    for each in workers:
        each.disconnect()
    assert results == [None] * 24
    assert members(slapd, one.key) == {f"uid={each.login},{slapd.people_dn}" for each in crowd[8:]}


def test_a_dump_knows_everybodys_groups(slapd: Slapd, directory: DirectoryConnector) -> None:
    one, two = group(), group()
    both, nobody = account(groups=(one, two)), account(groups=())
    for each in (both, nobody):
        assert put(directory, each) is None
    found = {number: each.groups for each in directory.objects() for number in each.student_numbers}
    assert found[both.student_number] == tuple(sorted((one.key, two.key)))
    assert found[nobody.student_number] == ()
    assert [each.groups for each in seen(directory, both)] == [found[both.student_number]]


@pytest.mark.parametrize("name", ["a,b=c+d", 'é "x" <y>', "#start", "(*)\\", " L1 "])
def test_a_groups_name_may_hold_anything(slapd: Slapd, directory: DirectoryConnector, name: str) -> None:
    odd = f"{name}{fresh_number()}"
    wanted = account(groups=(group().model_copy(update={"key": odd}),))
    assert put(directory, wanted) is None
    [shown] = seen(directory, wanted)
    assert shown.groups is not None
    assert [each.strip() for each in shown.groups] == [odd.strip()]


def test_a_dynamic_group_whose_name_is_taken_is_told_too(slapd: Slapd) -> None:
    theirs = group()
    dn = group_dn(slapd, theirs.key)
    as_provisioner(
        slapd, "ldapadd", stdin=f"dn: {dn}\ncn: {theirs.key}\nobjectClass: groupOfNames\nmember: {dn}\n"
    )
    handler = directory_of(slapd).handler()
    waiting = bring(handler, account(groups=(theirs,)))
    assert isinstance(waiting, Waiting)
    assert (waiting.reason, waiting.pending) == (GROUP_NOT_OURS, (theirs.key,))
    handler.close()


def erase(directory: DirectoryConnector, dn: str, number: str) -> Refused | None:
    found = TargetObject(ref_of(dn), number)
    return directory.erase([found], Deadline.after(30.0)).get(found.ref)


def test_an_erased_entry_leaves_its_groups_and_nobody_else_s(
    slapd: Slapd, directory: DirectoryConnector, handler: Handler
) -> None:
    one = group()
    wanted, other = account(groups=(one,)), account(groups=(one,))
    for each in (wanted, other):
        bring(handler, each)
    dn, somebody = dn_of(slapd, wanted), account(groups=())
    refused = erase(directory, dn, somebody.student_number)
    assert refused is not None
    assert (refused.cause, refused.lasting) == (COLLISION, True)
    assert members(slapd, one.key) == {dn, dn_of(slapd, other)}, "nothing was done to another one's entry"
    assert erase(directory, dn, wanted.student_number) is None
    assert members(slapd, one.key) == {dn_of(slapd, other)}
    assert search(slapd, slapd.people_dn, f"(uid={wanted.login})") == {}
    assert erase(directory, dn, wanted.student_number) is None


def test_a_search_that_somebody_removed_is_made_again(slapd: Slapd) -> None:
    dynamic = directory_of(slapd)
    wanted = account(groups=(group(),))
    dn = group_dn(slapd, wanted.groups[0].key)
    for handler in (dynamic.handler(), dynamic.handler()):
        assert isinstance(bring(handler, wanted), Done)
        assert handler.preview([wanted])[wanted.student_number].differs == ()
        as_provisioner(slapd, "ldapdelete", dn)
        assert handler.preview([wanted])[wanted.student_number].differs == ("groups",)
    dynamic.disconnect()


def test_an_entry_that_somebody_gives_to_another_student_meanwhile_is_not_erased(
    slapd: Slapd, directory: DirectoryConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, other = account(groups=()), fresh_number()
    assert put(directory, wanted) is None
    dn, read = dn_of(slapd, wanted), Entries._by_dn  # noqa: SLF001

    def stale(self: Entries, name: str) -> EntryObject | None:
        shown = read(self, name)
        edit(slapd, dn, "replace: supannEtuId", f"supannEtuId: {other}")
        return shown

    monkeypatch.setattr(Entries, "_by_dn", stale)
    refused = erase(directory, dn, wanted.student_number)
    assert refused is not None
    assert refused.lasting
    [entry] = search(slapd, slapd.people_dn, f"(uid={wanted.login})", "supannEtuId").values()
    assert entry == {"supannEtuId": [other]}


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_a_name_that_is_taken_elsewhere_in_the_tree_is_no_obstacle(slapd: Slapd, *, static: bool) -> None:
    theirs = group()
    unit = f"ou={theirs.key},{slapd.groups_dn}"
    lines = [f"dn: {unit}", "objectClass: organizationalUnit", f"ou: {theirs.key}", ""]
    lines += [f"dn: cn={theirs.key},{unit}", "objectClass: organizationalRole", f"cn: {theirs.key}"]
    as_provisioner(slapd, "ldapadd", stdin="\n".join(lines) + "\n")
    directory = directory_of(slapd, group_kind="static" if static else "dynamic")
    handler, wanted = directory.handler(), account(groups=(theirs,))
    assert isinstance(bring(handler, wanted), Done)
    assert search(slapd, slapd.groups_dn, f"(cn={theirs.key})").keys() == {
        f"cn={theirs.key},{unit}",
        group_dn(slapd, theirs.key),
    }
    handler.close()


def test_what_gives_a_role_at_the_console_is_read_of_one_login_as_cas_releases_it(
    slapd: Slapd, directory: DirectoryConnector, handler: Handler
) -> None:
    one, other = account(groups=(group(),)), account(groups=(group(),))
    for each in (one, other):
        assert isinstance(bring(handler, each), Done)
    names = ["eduPersonAffiliation", "eduPersonEntitlement", "memberOf"]
    found = directory.attributes_of(one.login.upper(), names)
    assert set(found["eduPersonAffiliation"]) == {"member", "student"}
    assert [ref_of(dn) for dn in found["memberOf"]] == [ref_of(group_dn(slapd, one.groups[0].key))]
    assert not found.get("eduPersonEntitlement")
    rules = {
        name: (f"memberOf={group_dn(slapd, name)}",) for name in (one.groups[0].key, other.groups[0].key)
    }
    assert roles_of(rules, Validated(one.login, found)) == {one.groups[0].key}
    assert directory.attributes_of("nobody", names) == {}
