"""What federations ask for, over a real slapd: the ESI by a port, and beside others' values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from consumers.directory.settings import FederationSettings
from consumers.registry.esi import esis_of
from consumers.registry.settings import EsiRules
from pipeline.errors import Misconfigured
from pipeline.target import Done, HandlerOutcome, Preview, Task
from sandbox.slapd import Slapd
from schemas.account import Account
from sesame.testing.servers.directory_kit import account, directory_of, fresh_number
from sesame.testing.servers.ldap_tools import as_provisioner, search
from sesame.testing.servers.registry_kit import LEA, RegistryHarness, activation, enrolled
from sesame.testing.servers.stores import sqlite_store

URN = "urn:schac:personalUniqueCode:int:esi:fr:"
NEVER = "https://refeds.org/assurance/ID/eppn-unique-no-reassign"
ASKED = FederationSettings(esi=True, home_organization="univ-exemple.fr", no_reassign=True)
NAMES = ("schacPersonalUniqueCode", "schacHomeOrganization", "eduPersonAssurance", "objectClass")


class Federated:
    """A directory consumer of a site that asks for all, with these ESIs."""

    def __init__(self, slapd: Slapd, asked: FederationSettings | None = ASKED) -> None:
        self._slapd = slapd
        self.esis: dict[str, str] = {}
        self.directory = directory_of(slapd, esis=self.esis, federation=asked)
        self.handler = self.directory.handler()

    def bring(self, one: Account) -> HandlerOutcome:
        return self.handler.handle([Task(one)])[one.student_number]

    def written(self, one: Account) -> Done:
        said = self.bring(one)
        assert isinstance(said, Done), said
        return said

    def entry(self, one: Account) -> dict[str, list[str]]:
        [found] = search(self._slapd, self._slapd.people_dn, f"(uid={one.login})", *NAMES).values()
        return found

    def edit(self, one: Account, *lines: str) -> None:
        """As somebody else."""
        ldif = "\n".join([f"dn: uid={one.login},{self._slapd.people_dn}", "changetype: modify", *lines])
        as_provisioner(self._slapd, "ldapmodify", stdin=ldif + "\n")


@pytest.fixture
def federated(slapd: Slapd) -> Iterator[Federated]:
    made = Federated(slapd)
    with closing(made.handler):
        yield made


def someone(federated: Federated, ine: str = "") -> Account:
    number = fresh_number()
    if ine:
        federated.esis[number] = URN + ine
    return account(number)


def test_two_entries_show_each_their_own_and_what_all_share(federated: Federated) -> None:
    zoe, tom = someone(federated, "000104729VN"), someone(federated, "123456789AB")
    for one in (zoe, tom):
        assert federated.written(one).changed
        found = federated.entry(one)
        assert found["schacPersonalUniqueCode"] == [federated.esis[one.student_number]]
        assert found["schacHomeOrganization"] == ["univ-exemple.fr"]
        assert found["eduPersonAssurance"] == [NEVER]
    assert not federated.written(zoe).changed, "a second run plans nothing"
    assert federated.handler.preview([zoe, tom]) == {each.student_number: Preview() for each in (zoe, tom)}


def test_the_digest_says_nothing_of_an_esi(federated: Federated) -> None:
    one = someone(federated)
    without = federated.written(one)
    assert "schacPersonalUniqueCode" not in federated.entry(one)
    federated.esis[one.student_number] = URN + "000104729VN"
    later = federated.written(one)
    assert federated.entry(one)["schacPersonalUniqueCode"] == [URN + "000104729VN"]
    assert (later.changed, later.digest) == (True, without.digest)


def test_a_hand_that_takes_it_away_or_changes_it_is_noticed_and_mended(federated: Federated) -> None:
    one = someone(federated, "000104729VN")
    federated.written(one)
    for value in ("", URN + "999999999ZZ", (URN + "000104729VN").upper()):
        lines = [f"schacPersonalUniqueCode: {value}"] if value else []
        federated.edit(one, "replace: schacPersonalUniqueCode", *lines)
        [(number, plan)] = federated.handler.preview([one]).items()
        assert (number, plan.differs) == (one.student_number, ("schacPersonalUniqueCode",))
        assert federated.written(one).changed
        assert federated.entry(one)["schacPersonalUniqueCode"] == [URN + "000104729VN"]


def test_what_others_say_in_the_same_attributes_stays(federated: Federated) -> None:
    one, foreign = someone(federated, "000104729VN"), "urn:schac:personalUniqueCode:fr:univ-exemple.fr:42"
    federated.written(one)
    medium = "https://refeds.org/assurance/IAP/medium"
    federated.edit(
        one,
        *("add: schacPersonalUniqueCode", f"schacPersonalUniqueCode: {foreign}", "-"),
        *("add: eduPersonAssurance", f"eduPersonAssurance: {medium}", "-"),
        *("delete: eduPersonAssurance", f"eduPersonAssurance: {NEVER}"),
    )
    federated.written(one)
    found = federated.entry(one)
    assert sorted(found["schacPersonalUniqueCode"]) == sorted([foreign, URN + "000104729VN"])
    assert sorted(found["eduPersonAssurance"]) == sorted([medium, NEVER])
    assert not federated.written(one).changed


def test_a_number_that_was_merged_gives_its_own_up_and_nothing_else(federated: Federated) -> None:
    one = someone(federated, "000104729VN")
    federated.written(one)
    federated.edit(one, "add: schacPersonalUniqueCode", "schacPersonalUniqueCode: urn:schac:other")
    federated.esis[one.student_number] = ""
    federated.written(one)
    assert federated.entry(one)["schacPersonalUniqueCode"] == ["urn:schac:other"]


def test_what_another_system_wrote_stays_until_one_is_minted(federated: Federated) -> None:
    abroad = "urn:schac:personalUniqueCode:int:esi:uniroma1.it:1234567"
    zoe, tom = someone(federated), someone(federated)
    for one, value in ((zoe, URN + "0OLDINE1234"), (tom, abroad)):
        federated.written(one)
        federated.edit(one, "add: schacPersonalUniqueCode", f"schacPersonalUniqueCode: {value}")
        assert not federated.written(one).changed
        assert federated.entry(one)["schacPersonalUniqueCode"] == [value]
    federated.esis[tom.student_number] = URN + "000104729VN"
    federated.written(tom)
    assert sorted(federated.entry(tom)["schacPersonalUniqueCode"]) == sorted([abroad, URN + "000104729VN"])


@pytest.mark.parametrize("asked", [None, FederationSettings()])
def test_what_a_site_does_not_ask_for_is_left_alone(
    slapd: Slapd, federated: Federated, asked: FederationSettings | None
) -> None:
    one = someone(federated, "000104729VN")
    federated.written(one)
    before = federated.entry(one)
    plain = Federated(slapd, asked)
    with closing(plain.handler):
        plain.esis[one.student_number] = URN + "999999999ZZ"
        assert not plain.written(one).changed
        other = someone(plain, "123456789AB")
        plain.written(other)
        assert plain.entry(other).keys() == {"objectClass"}
        assert not any(name.startswith("schac") for name in plain.entry(other)["objectClass"])
    assert federated.entry(one) == before
    federated.esis[other.student_number] = URN + "123456789AB"
    federated.written(other)
    assert federated.entry(other)["schacPersonalUniqueCode"] == [URN + "123456789AB"], "it asks for it later"


def test_the_registry_s_esi_reaches_the_entry_with_a_version_of_its_own(slapd: Slapd, tmp_path: Path) -> None:
    """From the registrar's fact to ldapsearch; the INE becomes definitive, and nothing else changes."""
    desk = RegistryHarness(sqlite_store(tmp_path), esi=EsiRules())
    directory = directory_of(slapd, federation=ASKED)
    with closing(desk.database), closing(directory.handler()) as handler:

        def esis(numbers: object) -> dict[str, str]:
            with desk.database.read() as connection:
                return esis_of(connection, numbers)  # type: ignore[arg-type]

        object.__setattr__(directory.context.site, "esis", esis)
        digests = []
        for sequence, provisional in ((1, True), (2, False)):
            desk.apply(enrolled(sequence=sequence, ine="000104729VN", ine_provisional=provisional))
            if sequence == 1:
                desk.apply(activation())
            one = desk.account()
            said = handler.handle([Task(one)])[LEA]
            assert isinstance(said, Done), said
            digests.append(said.digest)
            [found] = search(slapd, slapd.people_dn, f"(supannEtuId={LEA})", *NAMES, "sesameVersion").values()
            wanted = [] if provisional else [URN + "000104729VN"]
            assert found.get("schacPersonalUniqueCode", []) == wanted
            assert found["sesameVersion"] == [str(one.version)]
        assert digests[0] == digests[1]
        assert desk.account().version == 3


class WithoutSchac(Slapd):
    """A server that never loaded SCHAC's schema."""

    def _render(self, name: str, extra: dict[str, str] | None = None) -> str:
        lines = super()._render(name, extra).splitlines(keepends=True)
        return "".join(line for line in lines if "schac.schema" not in line)


def test_a_server_without_the_attributes_is_told_before_anybody_is_written() -> None:
    with WithoutSchac(fsync=False) as bare:
        asked = directory_of(bare, federation=ASKED)
        asked.probe()
        with pytest.raises(
            Misconfigured, match=r"lacks schacHomeOrganization, schacPersonalUniqueCode"
        ) as said:
            list(asked.advice())
        assert "schac.schema" in said.value.remedy
        with closing(asked.handler()) as handler, pytest.raises(Misconfigured, match="schac"):
            handler.handle([Task(account())])
        plain = directory_of(bare)
        assert list(plain.advice()) == []
        assert plain.edition() == "SupAnn 2018 rev. 2"
        plain.disconnect()


def test_a_server_with_them_has_no_advice(federated: Federated) -> None:
    assert list(federated.directory.advice()) == []
    assert federated.directory.edition() == "SupAnn 2018 rev. 2"
