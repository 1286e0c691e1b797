"""A password that somebody replaced or deleted at the target is noticed, and no page says ready."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import update

from consumers.kit.connector import LOCK_IS_ANOTHER, Anything, TargetObject
from consumers.kit.deadline import Deadline
from pipeline import audit
from pipeline.audit import operator_notes
from pipeline.errors import WriteForbidden
from pipeline.target import Done, HandlerOutcome, Task, Waiting
from pipeline.target_states import target_states
from sandbox.process import PATIENCE_S, wait_until
from sandbox.samba import Samba
from sandbox.slapd import Slapd
from schemas.account import Hold
from schemas.events import CredentialChanged, HoldPlaced, ReplayRequested
from sesame.acts.acts import Actor, Role
from sesame.app.doctor.checks import checks_for
from sesame.app.doctor.findings import CheckResult, CheckState
from sesame.app.wiring import utc_now
from sesame.operations.access.holds import AccountHeld
from sesame.operations.access.unlocking import UnlockReport, UnlockRequest, unlock
from sesame.operations.people.diagnosis.engine import diagnose
from sesame.operations.people.diagnosis.rules import Finding
from sesame.operations.questions.reconcile.acts import (
    ReconcileRequest,
    WatchRequest,
    latest,
    reconcile,
    watch,
)
from sesame.operations.questions.reconcile.comparison import TargetReport
from sesame.operations.questions.reconcile.passes import reconciliations
from sesame.testing.servers.registry_kit import LEA, PAUL, RegistryHarness, activation, enrolled
from sesame.testing.servers.sections import samba_section, slapd_section, toml_of
from tests.integration.active_directory.active_directory_kit import Domain
from tests.integration.targets.site_kit import Site

CAMILLE = Actor("camille", frozenset({Role.OPERATOR}))
PASSWORDS = {LEA: "Une-phrase de 4 mots", PAUL: "Été 2026 à Brême !"}
STOLEN = "Celui 2 du voleur !"
ODILE = Actor("odile", frozenset({Role.SUPPORT}))
WORDS = "Au guichet, carte d'étudiante"
HASHER = PasswordHasher(memory_cost=8192, time_cost=1, parallelism=1)


class Place:
    """A site with one target, two students, and hands that have the administrator's rights there."""

    target: str
    locked: str  # the diagnosis's rule
    more = ""  # settings

    def __init__(self, folder: Path, section: Mapping[str, Any]) -> None:
        settings = toml_of(**{self.target: section})
        self.site = Site(folder, f'targets = ["{self.target}"]\n{settings}\n{self.more}')
        with self.site.database.read() as connection:
            self.desk = RegistryHarness(str(connection.engine.url))
        self.desk.apply(enrolled())
        self.desk.apply(enrolled(PAUL, birth_name="Durand", given_name="Paul", birth_date=date(2005, 1, 2)))
        for number, password in PASSWORDS.items():
            self.desk.apply(activation(number, credential_ref=self.sealed(number, password)))
            assert isinstance(self.turn(number), Done)
            self.is_known_as_provisioned(number)

    def close(self) -> None:
        self.desk.database.close()
        self.site.close()

    def sealed(self, number: str, password: str) -> str:
        with self.site.database.write() as connection:
            return self.site.vault.seal_password(connection, number, HASHER.hash(password), password)

    def turn(self, number: str, *holds: Hold) -> HandlerOutcome:
        account = self.desk.account(number).model_copy(update={"holds": frozenset(holds)})
        with closing(self.site.handler(self.target)) as handler:
            return handler.handle([Task(account)])[number]

    def is_known_as_provisioned(self, number: str) -> None:
        version = self.desk.account(number).version
        row = {"state": "provisioned", "state_version": version, "applied_version": version}
        keys = {"target": self.target, "student_number": number}
        with self.site.database.write() as connection:
            connection.execute(
                self.site.database.insert(target_states)
                .values(**keys, **row)
                .on_conflict_do_update(index_elements=list(keys), set_=row)
            )

    def compared(self) -> TargetReport:
        found = reconcile(self.site, CAMILLE, ReconcileRequest(), clock=utc_now).targets[self.target]
        assert not found.trouble
        return found

    def look(self) -> TargetReport | None:
        with self.site.database.write() as connection:
            connection.execute(reconciliations.update().values(looked_at=0.0))
        return watch(self.site, CAMILLE, WatchRequest(target=self.target), clock=utc_now)

    def replayed(self) -> list[str]:
        """Of whom a turn was asked for, in order."""
        events = [message.event for message in self.site.published("sesame.activations.bulk")]
        return [event.student_number for event in events if isinstance(event, ReplayRequested)]

    def doctor(self) -> CheckResult:
        (check,) = [each for each in checks_for(self.site.settings) if each.name == self.target]
        return check.run()

    def lets_in(self, number: str, password: str) -> bool:
        raise NotImplementedError

    def replace(self, number: str, password: str) -> None:
        raise NotImplementedError

    def locks_after(self, failures: int) -> None:
        """From now on that many wrong passwords lock an account."""
        raise NotImplementedError

    def lock_again(self, number: str) -> None:
        """Another lock takes the place of the present one."""
        raise NotImplementedError

    def lock(self, number: str) -> None:
        for _ in range(3):
            assert not self.lets_in(number, "Un mot 2 travers !")
        assert not self.lets_in(number, PASSWORDS[number])

    def causes(self, number: str) -> dict[str, Finding]:
        found = diagnose(self.site, number, look_s_max=60.0).findings
        return {each.rule: each for each in found if "lock" in each.rule or "wrong" in each.rule}

    def seen(self, connector: Anything) -> TargetObject:
        """Her object, as a connector reads it."""
        found = connector.read([self.desk.account(LEA)], Deadline.after(60))[LEA]
        assert isinstance(found, Sequence)
        return found[0]

    def unlock(self, number: str) -> UnlockReport:
        return unlock(self.site, ODILE, UnlockRequest(student_number=number, reason=WORDS))


class DirectoryPlace(Place):
    target, locked = "directory", "locked_until_reset"

    def __init__(self, folder: Path, slapd: Slapd) -> None:
        self.slapd = slapd
        super().__init__(folder, slapd_section(slapd))

    def dn(self, number: str) -> str:
        return f"uid={self.desk.account(number).login},{self.slapd.people_dn}"

    def by_hand(self, program: str, *arguments: str, stdin: str = "", allowed: int = 0) -> str:
        done = subprocess.run(
            [program, "-Q", "-Y", "EXTERNAL", "-H", self.slapd.ldapi_uri, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env={"PATH": os.defpath},
        )
        assert done.returncode in (0, allowed), done.stderr
        return done.stdout

    def modify(self, number: str, change: str) -> None:
        self.by_hand("ldapmodify", stdin=f"dn: {self.dn(number)}\nchangetype: modify\n{change}\n")

    def set_at(self, number: str) -> str:
        return self.by_hand("ldapsearch", "-LLL", "-b", self.dn(number), "pwdChangedTime").partition(
            "Time: "
        )[2]

    def replace(self, number: str, password: str) -> None:
        before = self.set_at(number)

        def replaced() -> bool:
            self.modify(number, f"replace: userPassword\nuserPassword: {{ARGON2}}{HASHER.hash(password)}")
            return not before or self.set_at(number) != before

        wait_until(replaced, "the server's clock shows another second")

    def locks_after(self, failures: int) -> None:
        policy = f"cn=strict,ou=policies,{self.slapd.base_dn}"
        lines = (f"dn: {policy}", "objectClass: organizationalRole", "objectClass: pwdPolicy", "cn: strict")
        more = ("pwdAttribute: userPassword", "pwdLockout: TRUE", f"pwdMaxFailure: {failures}")
        self.by_hand("ldapadd", stdin="\n".join([*lines, *more, ""]), allowed=68)
        for number in PASSWORDS:
            self.modify(number, f"add: pwdPolicySubentry\npwdPolicySubentry: {policy}")

    def lock_again(self, number: str) -> None:
        assert isinstance(self.turn(number, Hold.SUSPENDED), Done)

    def lets_in(self, number: str, password: str) -> bool:
        words = ["ldapwhoami", "-x", "-ZZ", "-H", self.slapd.ldap_uri, "-D", self.dn(number), "-w", password]
        env = {"PATH": os.defpath, "LDAPTLS_CACERT": str(self.slapd.ca_file)}
        said = subprocess.run(words, capture_output=True, timeout=PATIENCE_S, check=False, env=env)
        assert said.returncode in (0, 49), said.stderr
        return said.returncode == 0


class DomainPlace(Place):
    target, locked = "active_directory", "object_locked"

    def __init__(self, folder: Path, samba: Samba) -> None:
        self.domain = Domain(samba)
        self.domain.empty()
        super().__init__(folder, samba_section(samba))

    def replace(self, number: str, password: str) -> None:
        self.domain.write(self.domain.dn(number), unicodePwd=[f'"{password}"'.encode("utf-16-le")])  # type: ignore[list-item]

    def locks_after(self, failures: int) -> None:
        self.domain.write(self.domain.samba.base_dn, lockoutThreshold=[str(failures)])

    def lock_again(self, number: str) -> None:
        self.domain.write(self.domain.dn(number), lockoutTime=["0"])
        self.lock(number)

    def lets_in(self, number: str, password: str) -> bool:
        return self.domain.lets_in(self.domain.dn(number), password)

    def close(self) -> None:
        super().close()
        self.locks_after(0)
        self.domain.empty()


def configured(folder: Path, **changes: tuple[str, str]) -> Path:
    """The shipped configuration of slapd with some lines otherwise."""
    made = folder / "ops"
    made.mkdir()
    for each in (Path("ops") / "ldap").iterdir():
        if each.is_file():
            (made / each.name).write_bytes(each.read_bytes())
    for name, (before, after) in changes.items():
        (path,) = made.glob(f"{name}.*")
        text = path.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, after), encoding="utf-8")
    return made


@pytest.fixture
def directory(counted_slapd: Slapd, tmp_path: Path) -> Iterator[DirectoryPlace]:
    place = DirectoryPlace(tmp_path / "site", counted_slapd)
    yield place
    for number in PASSWORDS:
        place.by_hand("ldapdelete", place.dn(number))
    place.close()


@pytest.fixture
def domain(samba: Samba, tmp_path: Path) -> Iterator[DomainPlace]:
    place = DomainPlace(tmp_path / "site", samba)
    yield place
    place.close()


@pytest.fixture(params=["directory", "domain"])
def place(request: pytest.FixtureRequest) -> Place:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Place)
    return found


def test_a_replaced_password_is_a_difference_until_the_student_chooses_another(place: Place) -> None:
    assert place.compared().differs is False
    place.replace(LEA, STOLEN)
    assert place.lets_in(LEA, STOLEN)
    found = place.compared()
    assert (found.password_replaced, found.evidence) == ([LEA], {LEA: ("password_replaced",)})
    assert found.counts() | {"password_replaced": 0} == dict.fromkeys(found.counts(), 0)
    assert place.replayed() == [LEA], "her state is to say so, without any repair"
    assert place.turn(LEA) == Waiting("password_replaced")
    assert isinstance(place.turn(PAUL), Done)
    assert place.lets_in(LEA, STOLEN), "Sésame has no password to write"
    with place.site.database.write() as connection:
        mine = target_states.c.student_number == LEA
        said = {"state": "waiting", "reason": "password_replaced"}
        connection.execute(update(target_states).where(mine).values(**said))
    assert place.compared().password_replaced == [LEA], "told as long as it lasts"
    assert place.replayed() == [LEA], "it was said already"
    (last,) = latest(place.site, CAMILLE)
    assert (last.found["password_replaced"], last.left["password_replaced"]) == (1, [LEA])

    place.desk.apply(
        CredentialChanged(student_number=LEA, credential_ref=place.sealed(LEA, "Un autre, à 5 mots."))
    )
    assert isinstance(place.turn(LEA), Done)
    assert place.lets_in(LEA, "Un autre, à 5 mots.")
    assert not place.lets_in(LEA, STOLEN)
    place.is_known_as_provisioned(LEA)
    assert place.compared().differs is False


def test_it_is_noticed_by_day(place: Place) -> None:
    assert place.look() is None
    place.replace(PAUL, STOLEN)
    news = place.look()
    assert news is not None
    assert (news.password_replaced, news.different) == ([PAUL], [])
    assert place.replayed() == [PAUL]
    assert place.look() is None
    assert place.replayed() == [PAUL]


def test_who_is_shut_waits_for_nothing_and_is_found_when_access_opens(place: Place) -> None:
    place.replace(LEA, STOLEN)
    assert isinstance(place.turn(LEA, Hold.SUSPENDED), Done)
    assert place.turn(LEA) == Waiting("password_replaced")


def test_what_sesame_itself_writes_is_no_replacement(place: Place) -> None:
    for number, password in PASSWORDS.items():
        assert isinstance(place.turn(number, Hold.SUSPENDED), Done)
        assert isinstance(place.turn(number), Done)
        assert place.lets_in(number, password)
    assert place.compared().differs is False


def test_a_password_that_was_deleted_is_a_difference(directory: DirectoryPlace) -> None:
    directory.modify(LEA, "delete: userPassword")
    assert not directory.lets_in(LEA, PASSWORDS[LEA])
    assert directory.compared().password_replaced == [LEA]
    assert directory.turn(LEA) == Waiting("password_replaced")


def test_a_hand_s_other_changes_are_told_beside_it_and_can_be_repaired(directory: DirectoryPlace) -> None:
    directory.replace(LEA, STOLEN)
    directory.modify(LEA, "replace: sn\nsn: Voleur")
    found = directory.compared()
    assert (found.password_replaced, found.different) == ([LEA], [])
    assert found.evidence == {LEA: ("sn", "password_replaced")}
    assert directory.turn(LEA) == Waiting("password_replaced")
    assert directory.compared().evidence == {LEA: ("password_replaced",)}


def test_a_student_of_an_older_version_is_judged_by_the_time_of_our_write(directory: DirectoryPlace) -> None:
    """What the server said after our write was not kept then."""
    from pipeline.vault import vault

    ages = {LEA: 3600.0, PAUL: 0.0}
    for number, age in ages.items():
        ref = directory.desk.account(number).credential_ref
        with directory.site.database.write() as connection:
            row = update(vault).where(vault.c.ref == ref)
            connection.execute(row.values(shown_at=None, consumed_at=vault.c.consumed_at - age))
    assert directory.compared().password_replaced == [LEA], "an hour after we wrote it somebody else did"
    assert isinstance(directory.turn(PAUL), Done)
    with directory.site.database.write() as connection:
        connection.execute(update(vault).values(consumed_at=vault.c.consumed_at + 86_400))
    directory.replace(PAUL, STOLEN)
    assert directory.turn(PAUL) == Waiting("password_replaced"), "its time is known since that turn"


@pytest.mark.parametrize("keeps", ["all", "no time", "no right", "neither"])
def test_doctor_says_what_the_server_does_not_tell(
    keeps: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, tuple[str, str]] = {}
    if keeps in ("no time", "neither"):
        changes["tree"] = ("pwdMaxAge: 2147483647\n", "")
    if keeps in ("no right", "neither"):
        changes["slapd"] = ('"cn=provisioner,@SYSTEM@" =sw', '"cn=provisioner,@SYSTEM@" =w')
    monkeypatch.setattr("sandbox.slapd._OPS", configured(tmp_path, **changes))
    with Slapd(fsync=False) as slapd:
        place = DirectoryPlace(tmp_path / "site", slapd)
        with closing(place):
            said = place.doctor()
            untold = re.findall(r"whether somebody (\w+) a password", said.text)
            assert (
                untold
                == {
                    "all": [],
                    "no time": ["replaced"],
                    "no right": ["deleted"],
                    "neither": ["deleted", "replaced"],
                }[keeps]
            ), said.text
            assert said.state is (CheckState.WARN if untold else CheckState.OK)
            assert ("cannot be told" in said.text) is bool(untold)
            place.replace(LEA, STOLEN)
            place.modify(PAUL, "delete: userPassword")
            told = {"all": [LEA, PAUL], "no time": [PAUL], "no right": [LEA], "neither": []}[keeps]
            assert place.compared().password_replaced == sorted(told), "nothing is invented"


# --- locked by wrong passwords ----------------------------------------------------------------------


def test_the_desk_unlocks_what_wrong_passwords_have_locked_and_the_password_stays(place: Place) -> None:
    place.locks_after(3)
    began = time.time()
    assert place.causes(LEA) == {}
    for number in PASSWORDS:
        place.lock(number)
    ((rule, cause),) = place.causes(LEA).items()
    assert rule == place.locked
    assert cause.evidence["by"] == "the server, after wrong passwords"
    assert began - 2 < cause.evidence["locked"].timestamp() < time.time() + 2

    done = place.unlock(LEA)
    assert [(each.target, each.locked_at) for each in done.unlocked] == [(place.target, cause.since)]
    assert done.left == {}
    assert place.lets_in(LEA, PASSWORDS[LEA])
    assert not place.lets_in(PAUL, PASSWORDS[PAUL]), "the other one is as he was"
    assert place.causes(LEA) == {}
    assert (place.unlock(LEA).unlocked, place.unlock(LEA).left) == ((), {})
    with place.site.database.read() as connection:
        (entry,) = audit.entries(connection, limit=9, action="unlock")
        (words,) = operator_notes.of_student(connection, LEA)
    assert (entry.actor, entry.detail["targets"]) == ("odile", [place.target])
    assert (words.words, WORDS in str(entry.detail)) == (WORDS, False)


def test_a_held_account_is_not_unlocked_and_the_reason_is_told(place: Place) -> None:
    place.locks_after(3)
    place.lock(PAUL)
    place.desk.apply(HoldPlaced(student_number=PAUL, hold=Hold.SUSPENDED))
    with place.site.database.write() as connection:
        operator_notes.keep(
            connection,
            place.site.database,
            action="hold.place",
            about=Hold.SUSPENDED,
            student_number=PAUL,
            actor="camille",
            words="enquête",
        )
    with pytest.raises(AccountHeld, match=r"suspended \(enquête; camille, "):
        place.unlock(PAUL)
    place.turn(PAUL, Hold.SUSPENDED)
    with pytest.raises(AccountHeld):
        place.unlock(PAUL)
    assert not place.lets_in(PAUL, PASSWORDS[PAUL])


def test_only_the_lock_that_was_read_is_removed(place: Place) -> None:
    """A hold, or more wrong passwords, came between."""
    place.locks_after(3)
    place.lock(LEA)
    with place.site.connector(place.target, writes=True) as connector:
        found = place.seen(connector)
        place.lock_again(LEA)
        assert connector.unlock(found, Deadline.after(60)) == LOCK_IS_ANOTHER
        assert not place.lets_in(LEA, PASSWORDS[LEA])
        found = place.seen(connector)
        assert (found.lockout is None) is (place.target == "directory"), "a hold's lock is none of these"


def test_who_only_reads_unlocks_nothing(place: Place) -> None:
    place.locks_after(3)
    place.lock(LEA)
    with place.site.connector(place.target) as connector:
        found = place.seen(connector)
        with pytest.raises(WriteForbidden):
            connector.unlock(found, Deadline.after(60))
    assert not place.lets_in(LEA, PASSWORDS[LEA])
