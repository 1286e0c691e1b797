"""The directory away, frozen, killed, mistrusted, or refusing us: what the consumer says, what is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from consumers.directory import answers
from consumers.kit.connector import Change
from consumers.kit.deadline import Deadline
from consumers.kit.ldap_answers import LdapAnswer
from consumers.kit.ldap_patience import PatientLdapClient
from pipeline.errors import Misconfigured, TargetDown
from sandbox.slapd import Slapd
from sandbox.tls import ThrowawayCA
from schemas.account import Account
from sesame.testing.servers import require_service
from sesame.testing.servers.directory_kit import account, client_of, differences, directory_of, put
from sesame.testing.servers.ldap_tools import search


def test_a_certificate_of_an_unknown_authority_is_refused(slapd: Slapd, tmp_path: Path) -> None:
    stranger = ThrowawayCA(tmp_path, name="Autre CA").ca_file
    for uri in (slapd.ldap_uri, slapd.ldaps_uri):
        directory = directory_of(slapd, client_of(slapd, ca_file=stranger, uri=uri))
        with pytest.raises(Misconfigured, match="certificate verify failed") as stopped:
            directory.probe()
        assert not set("(){}'") & set(str(stopped.value))  # words, no tuple of Python's and no certificate


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    ThrowawayCA(tmp_path / "tls").issue("server", hosts=["annuaire.univ-exemple.fr"])
    with require_service(lambda: Slapd(tmp_path, fsync=False)) as elsewhere:
        directory = directory_of(elsewhere)
        with pytest.raises(Misconfigured, match=r"127\.0\.0\.1"):
            directory.probe()


def test_ldaps_works_as_starttls_does(slapd: Slapd) -> None:
    directory = directory_of(slapd, client_of(slapd, uri=slapd.ldaps_uri))
    directory.probe()
    wanted = account()
    assert put(directory, wanted) is None
    directory.disconnect()


def test_a_wrong_password_stops_the_consumer_and_is_not_shown(slapd: Slapd) -> None:
    directory = directory_of(slapd, client_of(slapd, password=lambda: "Pas-le-bon-2026"))
    with pytest.raises(Misconfigured, match="password") as stopped:
        put(directory, account())
    assert "Pas-le-bon" not in f"{stopped.value}{stopped.value.remedy}"


def test_an_account_without_rights_stops_the_consumer(slapd: Slapd) -> None:
    reader = client_of(slapd, bind_dn=slapd.cas_dn, password=slapd.cas_password_file.read_text)
    directory = directory_of(slapd, reader)
    with pytest.raises(Misconfigured, match="rights"):
        put(directory, account())
    with pytest.raises(Misconfigured, match="rights"):
        directory.probe()
    directory.disconnect()


def test_the_probe_writes_its_own_entry_and_no_students(slapd: Slapd) -> None:
    directory = directory_of(slapd)
    directory.probe()
    (first,) = search(slapd, slapd.probe_dn, "(uid=*)", "description").values()
    directory.probe()
    (second,) = search(slapd, slapd.probe_dn, "(uid=*)", "description", "supannEtuId").values()
    directory.disconnect()
    assert first["description"] < second["description"]
    assert "supannEtuId" not in second


def test_a_missing_probe_entry_says_which_to_add(slapd: Slapd) -> None:
    directory = directory_of(slapd, people_dn=slapd.groups_dn)
    with pytest.raises(Misconfigured, match="probes") as stopped:
        directory.probe()
    assert "tree.ldif" in stopped.value.remedy
    directory.disconnect()


@pytest.mark.parametrize("branch", ["people", "groups"])
def test_a_branch_that_no_student_can_be_written_to_fails_the_probe(slapd: Slapd, branch: str) -> None:
    """Otherwise the probe ends the outage that the students meet, and each pays for it with attempts."""
    place: dict[str, Any] = {f"{branch}_dn": f"ou=absente,{slapd.base_dn}"}
    directory = directory_of(slapd, **place)
    with pytest.raises(Misconfigured, match="does not exist"):
        directory.probe()
    directory.disconnect()


def test_a_server_restarted_between_two_calls_is_met_again(own_slapd: Slapd) -> None:
    directory = directory_of(own_slapd)
    first, second = account(), account()
    put(directory, first)
    own_slapd.restart()
    assert put(directory, second) is None
    directory.disconnect()


def test_a_frozen_server_is_down_and_answers_again_when_it_thaws(own_slapd: Slapd) -> None:
    directory = directory_of(own_slapd, client_of(own_slapd, receive_timeout_s=1))
    wanted = account()
    directory.probe()
    own_slapd.pause()
    with pytest.raises(TargetDown):
        put(directory, wanted)
    own_slapd.resume()
    assert put(directory, wanted) is None
    directory.disconnect()


class _FreezesOnce(PatientLdapClient):
    """Freezes the server before the first add: no answer comes in time, but the add may still land."""

    slapd: Slapd

    def add(
        self, dn: str, classes: Sequence[str], attributes: Mapping[str, Sequence[str | bytes]]
    ) -> LdapAnswer:
        if dn.startswith("uid=") and not self.frozen:
            self.frozen = True
            self.slapd.pause()
        return super().add(dn, classes, attributes)

    frozen = False


def test_after_a_time_out_the_entry_is_read_before_anything_is_decided(own_slapd: Slapd) -> None:
    pauses: list[float] = []

    def thaw(seconds: float) -> None:
        pauses.append(seconds)
        own_slapd.resume()

    client = _FreezesOnce(client_of(own_slapd, receive_timeout_s=1).endpoint, answers, sleep=thaw)
    client.slapd = own_slapd
    directory = directory_of(own_slapd, client)
    wanted = account()
    assert put(directory, wanted) is None
    assert (client.frozen, len(pauses)) == (True, 1)
    assert differences(directory, wanted) == set()
    directory.disconnect()


class _KillsAtTheFirstAdd(PatientLdapClient):
    """Kills the server in the middle of an add: it may have been carried out."""

    slapd: Slapd

    def _run(self, operation: str, *values: Any, writes: bool = False, **named: Any) -> Any:
        if writes and self.slapd.running:
            self.slapd.kill()
        return super()._run(operation, *values, writes=writes, **named)


def test_a_server_that_is_killed_during_a_write_leaves_it_in_doubt(own_slapd: Slapd) -> None:
    client = _KillsAtTheFirstAdd(client_of(own_slapd).endpoint, answers)
    client.slapd = own_slapd
    directory = directory_of(own_slapd, client)
    with pytest.raises(TargetDown) as down:
        put(directory, account())
    assert down.value.unknown
    with pytest.raises(TargetDown) as down:
        put(directory, account())
    assert not down.value.unknown


def test_a_server_killed_in_the_middle_loses_nobody(own_slapd: Slapd) -> None:
    directory = directory_of(own_slapd)
    students = [account() for _ in range(120)]
    batches = [students[start : start + 10] for start in range(0, len(students), 10)]
    acknowledged: list[Account] = []

    def bring(batch: list[Account]) -> bool:
        if len(acknowledged) >= 40 and own_slapd.running:
            own_slapd.kill()
        changes = [Change(one, None, {}) for one in batch]
        try:
            refused = directory.apply(changes, Deadline.after(30.0))
        except TargetDown:
            return False
        acknowledged.extend(one for one in batch if one.student_number not in refused)
        return True

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(bring, batches))
    assert not all(outcomes), "the server was killed while batches were under way"
    own_slapd.start()
    kept = directory.read(acknowledged, Deadline.after(30.0))
    assert all(len(entries) == 1 for entries in kept.values())
    again = directory.apply([Change(one, None, {}) for one in students], Deadline.after(60.0))
    assert again == {}
    for number, entries in directory.read(students, Deadline.after(30.0)).items():
        assert len(entries) == 1, number
    directory.disconnect()


@pytest.mark.parametrize("limits", ["size=5 size.prtotal=5", "size=unlimited size.prtotal=5", "size=5"])
def test_a_list_that_the_server_cuts_off_is_not_taken_for_everybody(limits: str, tmp_path: Path) -> None:
    class Cut(Slapd):
        limits = "size=unlimited size.prtotal=unlimited"

        def _render(self, name: str, extra: dict[str, str] | None = None) -> str:
            return super()._render(name, extra).replace(Cut.limits, self.limits)

    with require_service(lambda: Cut(tmp_path, fsync=False)) as slapd:
        directory = directory_of(slapd)
        several = [account(number=f"2260{n:04}") for n in range(9)]
        for each in several:
            assert put(directory, each) is None
        numbers = {one.student_number for one in directory.objects()}
        assert numbers >= {each.student_number for each in several}
        directory.disconnect()
        slapd.stop()
        slapd.limits = limits
        slapd.start()
        directory = directory_of(slapd)
        with pytest.raises(Misconfigured, match="limits how many entries"):
            list(directory.objects())
        directory.disconnect()
