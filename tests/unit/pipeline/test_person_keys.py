"""Keys of persons: one each, destroyed for ever, in the copies too; no number is left in any file."""

from __future__ import annotations

import random
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.person_keys import (
    SITE,
    PersonKey,
    PersonKeys,
    PersonKeysError,
    PersonKeysUnusable,
    SealRefused,
    seal,
    unseal,
)

LEA, PAUL = "22001234", "22005678"
ERASED = "erased-abcdefghijklmnopqrstuvwxyz"
KEPT = {"ledger": [{"kind": "login", "value": "h:1f", "student_number": ERASED}]}
AT = datetime(2026, 11, 28, 2, 30, tzinfo=UTC)


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    (tmp_path / "copies").mkdir()
    return tmp_path / "copies"


@pytest.fixture
def keys(tmp_path: Path, copies: Path) -> PersonKeys:
    return PersonKeys(tmp_path / "person-keys.db", copies=copies)


def everything_in(folder: Path) -> bytes:
    return b"".join(each.read_bytes() for each in folder.rglob("*") if each.is_file())


def test_everybody_has_a_key_of_their_own_for_ever(keys: PersonKeys) -> None:
    first = keys.of([LEA, PAUL, SITE])
    assert keys.of([PAUL, LEA, SITE]) == first
    assert len({each.key for each in first.values()}) == 3
    assert {len(each.key) for each in first.values()} == {32}
    ids = [each.id for each in first.values()]
    assert keys.opening(ids) == {each.id: each for each in first.values()}
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600


def test_a_thousand_at_once_have_a_key_each(keys: PersonKeys) -> None:
    numbers = [f"22{n:06}" for n in range(1_234)]
    found = keys.of(numbers)
    assert sorted(found) == numbers
    assert len(keys.opening([each.id for each in found.values()])) == 1_234


def test_what_is_sealed_opens_under_its_key_and_in_its_place_only() -> None:
    mine, other = PersonKey(1, b"a" * 32), PersonKey(2, b"b" * 32)
    sealed = seal([mine], b"Lea", b"here")
    assert b"Lea" not in sealed
    assert unseal([mine], sealed, b"here") == b"Lea"
    assert seal([mine], b"Lea", b"here") != sealed, "each has a nonce of its own"
    for keys, about in (([other], b"here"), ([mine], b"there"), ([mine, other], b"here")):
        with pytest.raises(SealRefused):
            unseal(keys, sealed, about)
    for place in range(len(sealed)):
        with pytest.raises(SealRefused):
            unseal([mine], sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], b"here")
    with pytest.raises(SealRefused):
        unseal([mine], sealed[:5], b"here")


def test_what_is_about_two_opens_with_the_keys_of_both_in_any_order() -> None:
    one, two = PersonKey(1, b"a" * 32), PersonKey(2, b"b" * 32)
    sealed = seal([two, one], b"Lea and Paul", b"")
    assert unseal([one, two], sealed, b"") == b"Lea and Paul"
    for keys in ([one], [two]):
        with pytest.raises(SealRefused):
            unseal(keys, sealed, b"")


def test_a_destroyed_key_is_gone_from_every_file_and_what_is_kept_is_told(
    keys: PersonKeys, copies: Path, tmp_path: Path
) -> None:
    lea, paul = (keys.of([LEA, PAUL])[number] for number in (LEA, PAUL))
    copy = keys.copy(AT, days=7)
    (copies / ".person-keys.partial").write_bytes(lea.key)  # one that was cut off
    assert LEA.encode() in everything_in(tmp_path)
    assert keys.destroy(LEA, pseudonym=ERASED, kept=KEPT)
    assert LEA.encode() not in everything_in(tmp_path)
    assert lea.key not in everything_in(tmp_path)
    for each in (keys, PersonKeys(copy)):
        assert each.opening([lea.id, paul.id]) == {paul.id: paul}
        [gone] = each.destroyed()
        assert (gone.key_id, gone.pseudonym, gone.kept) == (lea.id, ERASED, KEPT)
        assert each.destructions() == {gone.id}
    assert PersonKeys(copy).destructions() == keys.destructions()


def test_once_rewritten_no_file_has_a_number_of_many_who_were_destroyed(
    keys: PersonKeys, tmp_path: Path
) -> None:
    """SQLite overwrites what is removed, and not what it copied when it balanced pages before."""
    chance = random.Random(5)  # noqa: S311 (no secret)
    numbers = [f"z{number:07}z" for number in chance.sample(range(10**7), 3_000)]
    keys.of(numbers)
    keys.copy(AT, days=7)
    gone = chance.sample(numbers, 1_500)
    for number in gone:
        keys.destroy(number, pseudonym=ERASED, kept=KEPT)
    keys.rewrite()
    left = everything_in(tmp_path)
    assert [number for number in gone if number.encode() in left] == []
    assert len(keys.of([number for number in numbers if number not in gone])) == 1_500


def test_destroying_again_is_nothing_new_and_goes_on_where_it_was_cut_off(
    keys: PersonKeys, copies: Path
) -> None:
    lea = keys.of([LEA])[LEA]
    copy = PersonKeys(keys.copy(AT, days=7))
    PersonKeys(keys.path).destroy(LEA, pseudonym=ERASED, kept=KEPT)  # killed before the copies
    assert copy.opening([lea.id])
    assert not keys.destroy(LEA, pseudonym=ERASED, kept=KEPT)
    assert not copy.opening([lea.id])
    assert copy.destructions() == keys.destructions()
    assert len(keys.destructions()) == 1


def test_who_was_in_no_backup_is_remembered_as_erased_too(keys: PersonKeys) -> None:
    assert keys.destroy(LEA, pseudonym=ERASED, kept=KEPT)
    [gone] = keys.destroyed()
    assert gone.key_id is None
    assert gone.kept == KEPT


def test_who_returns_has_a_new_key_and_may_be_erased_again(keys: PersonKeys) -> None:
    first = keys.of([LEA])[LEA]
    keys.destroy(LEA, pseudonym=ERASED, kept=KEPT)
    second = keys.of([LEA])[LEA]
    assert second.id != first.id
    assert second.key != first.key
    assert keys.destroy(LEA, pseudonym=ERASED, kept=KEPT)
    assert {each.key_id for each in keys.destroyed()} == {first.id, second.id}


def test_copies_live_for_their_days_only(keys: PersonKeys, copies: Path) -> None:
    old = keys.copy(AT - timedelta(days=8), days=7)
    young = keys.copy(AT - timedelta(days=6), days=7)
    (copies / "person-notes.txt").write_text("not ours")
    made = keys.copy(AT, days=7)
    assert not old.exists()
    assert sorted(copies.iterdir()) == sorted([young, made, copies / "person-notes.txt"])
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert PersonKeys(made).read_name() == keys.name()


def test_a_copy_takes_the_place_of_what_was_lost_and_of_nothing_else(
    keys: PersonKeys, tmp_path: Path
) -> None:
    lea = keys.of([LEA])[LEA]
    copy = keys.copy(AT, days=7)
    keys.destroy(LEA, pseudonym=ERASED, kept=KEPT)
    keys.take_over(copy)
    assert not keys.opening([lea.id])
    elsewhere = PersonKeys(tmp_path / "elsewhere.db")
    elsewhere.take_over(copy)
    assert elsewhere.destructions() == keys.destructions()
    assert elsewhere.read_name() == keys.name()


def test_a_file_that_is_not_there_or_is_none_says_so(keys: PersonKeys) -> None:
    for look in (keys.read_name, keys.destroyed, lambda: keys.opening([1])):
        with pytest.raises(PersonKeysError, match="no file of persons' keys"):
            look()
    assert not keys.path.exists(), "looking makes nothing"
    keys.path.write_bytes(b"something else entirely" * 100)
    keys.path.chmod(0o600)
    for act in (keys.read_name, keys.name, lambda: keys.of([LEA])):
        with pytest.raises(PersonKeysUnusable, match="not a database"):
            act()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused_until_it_is_closed(keys: PersonKeys, mode: int) -> None:
    keys.of([LEA])
    keys.path.chmod(mode)
    for act in (
        keys.read_name,
        lambda: keys.of([LEA]),
        lambda: keys.destroy(LEA, pseudonym=ERASED, kept=KEPT),
    ):
        with pytest.raises(PersonKeysUnusable, match="is open to others") as caught:
            act()
        assert caught.value.remedy == f"chmod 600 {keys.path}"
    keys.path.chmod(0o600)
    assert keys.of([LEA])
