"""Whose records are nobody's in a log that cannot be changed: each number of a person who was erased."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consumers.registry.erasure import erasures
from consumers.registry.erasure.erased_numbers import ErasedNumbers
from consumers.registry.erasure.erasures import Erasure, ErasureState
from consumers.registry.erasure.privacy_key import PrivacyKey
from pipeline.db.database import Database
from pipeline.vault import new_key

LEA, LEA_TOO, PAUL = "22600001", "22600002", "22600003"
ENDED_AT = 1_000_000.0


@pytest.fixture
def key() -> PrivacyKey:
    return PrivacyKey(new_key())


def put(database: Database, key: PrivacyKey, **values: Any) -> None:
    given = {"noted": {}, "receipt": None, "state": ErasureState.DONE, "ended_at": ENDED_AT, **values}
    with database.write() as connection:
        erasures.put(
            connection,
            Erasure(
                "1", key.pseudonym(LEA), None, signed_by="k", actor="c", reason="r", asked_at=1.0, **given
            ),
        )


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
