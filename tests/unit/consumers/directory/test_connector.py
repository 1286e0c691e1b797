"""What the connector makes of the port's results, with a directory that exists in memory only."""

from __future__ import annotations

import pytest

from consumers.directory.difference import changes, guarded_by_values
from consumers.directory.entry import OWNED, Profile
from consumers.directory.port import DesiredEntry, EntryRefused, EntryUnsettled
from consumers.directory.settings import DirectorySettings
from consumers.kit.passwords import CREDENTIAL_NEEDED
from pipeline.target import Dead, Done, HandlerOutcome, Retry, Task, Waiting
from schemas.account import Account, Hold
from sesame.testing.servers.directory_kit import handler_over
from tests.unit.consumers.directory.directory_kit import InMemory, Secrets, account

PROFILE = Profile(DirectorySettings(uai="0751717J", mail_quota=""), scope="univ-exemple.fr")


@pytest.fixture
def directory() -> InMemory:
    return InMemory()


def handle(directory: InMemory, *accounts: Account, secrets: Secrets | None = None) -> list[HandlerOutcome]:
    handler = handler_over(directory, secrets, profile=PROFILE)
    outcomes = handler.handle([Task(one) for one in accounts])
    return [outcomes[one.student_number] for one in accounts]


def test_refusals_are_dead_letters_and_doubts_are_tried_again(directory: InMemory) -> None:
    directory.answers = {
        "1": EntryRefused("identity_collision", "held"),
        "2": EntryUnsettled("outcome_unknown", "no answer", unknown=True),
    }
    assert handle(directory, account("1"), account("2")) == [
        Dead("identity_collision", "held"),
        Retry("outcome_unknown", "no answer", unknown=True),
    ]


def test_access_is_closed_first_and_only_where_it_must_be(directory: InMemory) -> None:
    handle(directory, account("1"), account("2"))
    directory.calls.clear()
    handle(directory, account("1", version=2), account("2", version=2, holds=frozenset({Hold.SUSPENDED})))
    assert [each for each in directory.calls if each[0] in ("close", "apply")] == [("close", 1), ("apply", 2)]


def test_whoever_may_use_nothing_gets_no_entry(directory: InMemory) -> None:
    (outcome,) = handle(directory, account("1", holds=frozenset({Hold.SUSPENDED})))
    assert isinstance(outcome, Done)
    assert directory.entries == {}


def test_a_hash_is_consumed_only_when_its_reference_was_read_back(directory: InMemory) -> None:
    secrets = Secrets(**{"ref-a": "$argon2id$a", "ref-b": "$argon2id$b"})
    directory.answers = {"2": EntryUnsettled("directory_busy", "busy")}
    handle(
        directory, account("1", credential_ref="ref-a"), account("2", credential_ref="ref-b"), secrets=secrets
    )
    assert secrets.consumed == ["ref-a"]


def test_a_password_that_is_gone_waits_for_a_new_one(directory: InMemory) -> None:
    assert handle(directory, account("1", credential_ref="ref-x")) == [Waiting(CREDENTIAL_NEEDED)]


def test_a_password_that_the_vault_still_has_is_written_again(directory: InMemory) -> None:
    directory.loses_passwords = True
    secrets = Secrets(**{"ref-x": "$argon2id$x"})
    (outcome,) = handle(directory, account("1", credential_ref="ref-x"), secrets=secrets)
    assert outcome == Retry("read_back_differs", "read back otherwise than written: sesameCredentialRef")


def test_a_seal_that_does_not_open_is_that_students_dead_letter(directory: InMemory) -> None:
    secrets = Secrets()
    secrets.broken = True
    broken, fine = handle(directory, account("1", credential_ref="ref-x"), account("2"), secrets=secrets)
    assert isinstance(broken, Dead)
    assert broken.cause == "seal_broken"
    assert isinstance(fine, Done)


def test_a_guarded_change_names_what_it_expects_to_find(directory: InMemory) -> None:
    handle(directory, account("1"))
    seen = directory.entries["1"]
    spy = InMemory()
    spy.answers = {}
    handle(spy, account("1", version=2, mail="h.roux@univ-exemple.fr"))
    wanted = spy.entries["1"]
    moved = DesiredEntry(
        student_number="1",
        login=wanted.logins[0],
        version=2,
        classes=wanted.classes,
        attributes=wanted.attributes,
        locked=False,
    )
    guarded = guarded_by_values(changes(moved, seen), seen)
    assert guarded == [
        ("delete", "mail", ("hugo.roux1@univ-exemple.fr",)),
        ("add", "mail", ("h.roux@univ-exemple.fr",)),
        ("delete", "sesameVersion", ("1",)),
        ("add", "sesameVersion", ("2",)),
    ]


def test_a_call_begins_nothing_after_its_time_and_ends_when_what_was_begun_does(directory: InMemory) -> None:
    handler = handler_over(directory, monotonic=lambda: 0.0, call_s_max=30.0)
    handler.handle([Task(account("1"))])
    operation_s_max = 5 + 3 * 5
    assert [seconds for verb, seconds in directory.calls if verb == "within"] == [
        30,
        30,
        30 + operation_s_max,
    ]
    assert handler.call_s_max == 30.0 + 2 * operation_s_max


def test_it_says_what_it_owns_and_closes_what_it_opened(directory: InMemory) -> None:
    handler = handler_over(directory, profile=PROFILE)
    handler.probe()
    handler.close()
    assert directory.calls == [("within", 20), ("probe", 0), ("disconnect", 0)]
    described = handler.describe()
    assert (described.name, described.system, handler.batch_size) == (
        "directory",
        "LDAP ldap://127.0.0.1:389",
        20,
    )
    assert set(described.owns) == {
        *OWNED,
        *("uid", "supannEtuId", "objectClass", "groups"),
        *("userPassword", "sesameCredentialRef", "sesameVersion", "pwdAccountLockedTime"),
    }
