"""Whose records are nobody's in a log that cannot be changed: each number of a person who was erased."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consumers.registry.erasure import erasures
from consumers.registry.erasure.erased_numbers import ErasedNumbers
from consumers.registry.erasure.erasures import LOG_BEFORE, Erasure, ErasureState
from consumers.registry.erasure.privacy_key import PrivacyKey, PrivacyKeyError
from pipeline.db.database import Database, StoreUnavailable
from pipeline.vault import new_key

LEA, LEA_TOO, PAUL = "22600001", "22600002", "22600003"
ENDED_AT = 1_000_000.0


@pytest.fixture
def key() -> PrivacyKey:
    return PrivacyKey(new_key())


def put(database: Database, key: PrivacyKey, number: str = LEA, **values: Any) -> None:
    given: dict[str, Any] = {
        "id": number,
        "noted": {},
        "receipt": None,
        "state": ErasureState.DONE,
        "ended_at": ENDED_AT,
    }
    own = {"pseudonym": key.pseudonym(number), "sealed": None, "signed_by": "k", "actor": "c", "reason": "r"}
    ended = Erasure(**(own | {"asked_at": 1.0} | given | values))
    with database.write() as connection:
        erasures.put(connection, ended)


@pytest.mark.parametrize("known_by", ["receipt", "noted"])
def test_each_number_of_an_erased_person_is_known_until_the_erasure_s_end(
    database: Database, key: PrivacyKey, known_by: str
) -> None:
    """By the receipt; where a backup was put back, by what the persons' keys have kept of the erasure."""
    both = [key.pseudonym(LEA), key.pseudonym(LEA_TOO)]
    if known_by == "receipt":
        put(database, key, receipt=json.dumps({"receipt": {"pii_principal_id": both}}))
    else:
        put(database, key, noted={"pseudonyms": both})
    known = ErasedNumbers(lambda: database, lambda: key)
    known.look()
    until_ms = int(1000 * ENDED_AT)
    assert [known.pseudonym(each, until_ms) for each in (LEA, LEA_TOO, PAUL)] == [*both, None]
    assert [known.pseudonym(each, until_ms + 1) for each in (LEA, LEA_TOO)] == [None, None], "who came back"


def test_who_is_being_erased_still_is_somebody(database: Database, key: PrivacyKey) -> None:
    put(database, key, state=ErasureState.FORGOTTEN, ended_at=None, noted={"pseudonyms": []})
    known = ErasedNumbers(lambda: database, lambda: key)
    known.look()
    assert known.pseudonym(LEA, 0) is None


def test_one_person_is_forgotten_and_another_is_not(database: Database, key: PrivacyKey) -> None:
    put(database, key)
    with database.read() as connection:
        known = [erasures.has_forgotten(connection, key.pseudonym(each)) for each in (LEA, PAUL)]
    assert known == [True, False]


def test_the_store_is_asked_again_once_the_time_is_over(database: Database, key: PrivacyKey) -> None:
    now = 0.0
    put(database, key)
    known = ErasedNumbers(lambda: database, lambda: key, monotonic=lambda: now)
    known.look()
    put(database, key, PAUL, ended_at=ENDED_AT + 5)
    known.look()
    assert known.pseudonym(PAUL, 0) is None
    now = 3600.0
    known.look()
    assert [known.pseudonym(each, 0) for each in (LEA, PAUL)] == [key.pseudonym(LEA), key.pseudonym(PAUL)]


def test_without_the_store_the_known_ones_stay_known_and_nobody_is_guessed(
    database: Database, key: PrivacyKey
) -> None:
    def store() -> Database:
        if away:
            raise StoreUnavailable
        return database

    away, now = True, 0.0
    put(database, key)
    known = ErasedNumbers(store, lambda: key, monotonic=lambda: now)
    with pytest.raises(StoreUnavailable):
        known.look()
    away = False
    known.look()
    away, now = True, 3600.0
    known.look()
    assert known.pseudonym(LEA, 0) == key.pseudonym(LEA)


def test_the_log_was_cleared_until_a_moment_before_the_end(database: Database, key: PrivacyKey) -> None:
    put(database, key, noted={LOG_BEFORE: ENDED_AT - 10})
    known = ErasedNumbers(lambda: database, lambda: key)
    known.look()
    until_ms = int(1000 * (ENDED_AT - 10))
    assert known.pseudonym(LEA, until_ms) == key.pseudonym(LEA)
    assert known.pseudonym(LEA, until_ms + 1) is None


@pytest.mark.parametrize("has_key", [True, False])
def test_the_one_whom_the_store_has_forgotten_is_told_apart(
    database: Database, key: PrivacyKey, has_key: bool
) -> None:
    def read_key() -> PrivacyKey:
        if not has_key:
            raise PrivacyKeyError
        return key

    put(database, key)
    known = ErasedNumbers(lambda: database, read_key)
    with database.read() as connection:
        assert [known.forgotten(connection, each) for each in (LEA, PAUL)] == [has_key, False]


def test_an_erasure_under_way_is_one_persons(database: Database, key: PrivacyKey) -> None:
    put(database, key)
    asked_of = {"pseudonyms": [key.pseudonym(PAUL)]}
    put(database, key, PAUL, state=ErasureState.ASKED, ended_at=None, noted=asked_of)
    with database.read() as connection:
        assert erasures.under_way(connection, key.pseudonym(LEA)) is None
        found = erasures.under_way(connection, key.pseudonym(PAUL))
        assert found is not None
        assert found.pseudonym == key.pseudonym(PAUL)
        assert [each.id for each in erasures.all_under_way(connection)] == [PAUL]
        asked = [erasures.asked(connection, key.pseudonym(each)) for each in (LEA, PAUL)]
    assert asked == [None, asked_of]


@pytest.mark.parametrize(
    ("state", "has_forgotten"),
    [
        (ErasureState.ASKED, False),
        (ErasureState.FORGOTTEN, True),
        (ErasureState.CLEARED, True),
        (ErasureState.DONE, True),
        (ErasureState.WITHDRAWN, False),
    ],
)
def test_the_store_has_forgotten_from_a_step_on(
    database: Database, key: PrivacyKey, state: ErasureState, has_forgotten: bool
) -> None:
    put(database, key, state=state)
    with database.read() as connection:
        assert erasures.has_forgotten(connection, key.pseudonym(LEA)) is has_forgotten


@pytest.mark.parametrize("known_by", ["receipt", "noted"])
def test_the_last_erasure_that_is_done_is_found_by_either_number(
    database: Database, key: PrivacyKey, known_by: str
) -> None:
    both = [key.pseudonym(LEA), key.pseudonym(LEA_TOO)]
    receipt = json.dumps({"receipt": {"pii_principal_id": both}})
    named = {"receipt": receipt} if known_by == "receipt" else {"noted": {"pseudonyms": both}}
    put(database, key, LEA, **named)
    put(database, key, LEA, id="later", ended_at=ENDED_AT + 10, **named)
    put(database, key, LEA, id="again", state=ErasureState.WITHDRAWN, ended_at=ENDED_AT + 20, **named)
    with database.read() as connection:
        found = [erasures.last_done(connection, key.pseudonym(each)) for each in (LEA, LEA_TOO, PAUL)]
        assert [each and each.id for each in found] == ["later", "later", None]
        assert erasures.has_forgotten(connection, key.pseudonym(LEA_TOO))
