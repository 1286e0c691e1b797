"""The vault: sealed where it is typed, opened once, and never again after it was consumed."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select, update

from pipeline.db.database import Database
from pipeline.vault import (
    HandedOver,
    SealBroken,
    Vault,
    VaultKeyError,
    expire,
    forget_kept,
    kept_hashes,
    new_key,
    plain_ref,
    read_keys,
)
from pipeline.vault import vault as table
from sesame.testing.servers.database_kit import Clock, undone

LEA, PAUL = "22001234", "22005678"
HASH = "{ARGON2}$argon2id$v=19$m=65536,t=3,p=4$c2Vs$aGFzaA"


@pytest.fixture
def keys() -> list[str]:
    return [new_key()]


@pytest.fixture
def vault(database: Database, keys: list[str], clock: Clock) -> Vault:
    return Vault(database, keys, clock=clock)


def seal(
    database: Database, vault: Vault, student: str = LEA, secret: str = HASH, *, why: str = "password"
) -> str:
    with database.write() as connection:
        return vault.seal(connection, student, why, secret)


def rows(database: Database) -> dict[str, bytes | None]:
    with database.read() as connection:
        return {row.ref: row.sealed for row in connection.execute(select(table))}


def test_what_was_sealed_is_opened_by_its_reference_alone(database: Database, vault: Vault) -> None:
    ref = seal(database, vault)
    assert vault.open(ref) == HASH
    assert vault.open("no such reference") is None


def test_the_database_holds_neither_the_secret_nor_the_key(
    database: Database, vault: Vault, keys: list[str]
) -> None:
    ref = seal(database, vault)
    sealed = rows(database)[ref]
    assert sealed is not None
    assert HASH.encode() not in sealed
    assert keys[0].encode() not in sealed
    assert HASH not in ref


def test_a_sealing_that_is_undone_leaves_nothing(database: Database, vault: Vault) -> None:
    with undone(database) as connection:
        vault.seal(connection, LEA, "password", HASH)
    assert rows(database) == {}


def test_a_consumed_secret_is_gone_for_ever_and_its_tombstone_says_when(
    database: Database, vault: Vault, clock: Clock
) -> None:
    ref = seal(database, vault)
    clock.now += 60.0
    vault.consume({ref: None})
    vault.consume({ref: None, "no such reference": None})  # twice is harmless
    vault.consume({})
    assert vault.open(ref) is None
    assert rows(database) == {ref: None}
    with database.read() as connection:
        assert connection.execute(select(table.c.consumed_at)).scalar_one() == clock.now


def test_a_tombstone_keeps_when_its_target_says_that_the_secret_was_set(
    database: Database, vault: Vault, clock: Clock
) -> None:
    ref, untold, waiting = (seal(database, vault, who) for who in (LEA, PAUL, "22600003"))
    clock.now += 60.0
    vault.consume({ref: 1_000.25, untold: None})
    assert vault.handed_over([ref, untold, waiting, "no such reference"]) == {
        ref: HandedOver(1_000.25, clock.now),
        untold: HandedOver(None, clock.now),
    }
    later = clock.now
    clock.now += 60.0
    vault.consume({ref: 2_000.0, untold: 3_000.0})
    assert vault.handed_over([ref, untold]) == {
        ref: HandedOver(1_000.25, later),
        untold: HandedOver(3_000.0, later),
    }, "what was told first stays"


def test_older_secrets_of_the_same_student_and_purpose_go_too_and_no_others(
    database: Database, vault: Vault
) -> None:
    old = seal(database, vault)
    other_purpose = seal(database, vault, why="mail_redirect")
    other_student = seal(database, vault, PAUL)
    present = seal(database, vault)
    newer = seal(database, vault)
    vault.consume({present: None})
    opened = [vault.open(ref) is not None for ref in (old, other_purpose, other_student, present, newer)]
    assert opened == [False, True, True, False, True]


def test_the_order_of_sealing_is_kept_after_consumption(database: Database, vault: Vault) -> None:
    first, second = seal(database, vault), seal(database, vault)
    vault.consume({second: None})
    with database.read() as connection:
        places = [vault.sequence(connection, LEA, ref) for ref in (first, second, "no such one")]
        assert vault.sequence(connection, PAUL, first) is None
        assert vault.latest(connection, LEA, "password") == second
        assert vault.latest(connection, PAUL, "password") is None
    assert places == [1, 2, None]


def test_a_new_key_seals_and_the_former_one_still_opens(
    database: Database, vault: Vault, keys: list[str], clock: Clock
) -> None:
    before = seal(database, vault)
    rotated = Vault(database, [new_key(), *keys], clock=clock)
    after = seal(database, rotated, PAUL)
    assert (rotated.open(before), rotated.open(after)) == (HASH, HASH)
    with pytest.raises(SealBroken):
        vault.open(after)


def test_a_lost_key_is_an_error_and_not_an_empty_password(
    database: Database, vault: Vault, clock: Clock
) -> None:
    ref = seal(database, vault)
    with pytest.raises(SealBroken, match=r"former\s+key back"):
        Vault(database, [new_key()], clock=clock).open(ref)


@pytest.mark.parametrize("moved", ["to another student", "to another reference"])
def test_a_secret_that_was_moved_to_another_row_does_not_open(
    database: Database, vault: Vault, moved: str
) -> None:
    mine = seal(database, vault)
    theirs = seal(database, vault, PAUL if moved == "to another student" else LEA, "other")
    with database.write() as connection:
        sealed = connection.execute(select(table.c.sealed).where(table.c.ref == theirs)).scalar_one()
        connection.execute(update(table).where(table.c.ref == mine).values(sealed=sealed))
    with pytest.raises(SealBroken):
        vault.open(mine)


def test_a_row_that_was_given_to_another_student_does_not_open(database: Database, vault: Vault) -> None:
    ref = seal(database, vault)
    with database.write() as connection:
        connection.execute(update(table).values(student_number=PAUL))
    with pytest.raises(SealBroken):
        vault.open(ref)


# --- the key file ---------------------------------------------------------------------------------


def key_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "vault.key"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_key_file_gives_its_keys_in_order_the_first_seals(tmp_path: Path) -> None:
    one, two = new_key(), new_key()
    assert read_keys(key_file(tmp_path, f"{one}\n{two}\n\n")) == [one, two]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_file_that_others_may_touch_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path, new_key(), mode)
    with pytest.raises(VaultKeyError, match="open to others") as refused:
        read_keys(path)
    assert refused.value.remedy == f"chmod 600 {path}"


@pytest.mark.parametrize(("text", "says"), [("", "is empty"), (" \n", "is empty"), ("clé", "cannot be read")])
def test_a_key_file_without_a_key_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(VaultKeyError, match=says):
        read_keys(key_file(tmp_path, text))


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VaultKeyError, match=r"vault\.key"):
        read_keys(tmp_path / "vault.key")


@pytest.mark.parametrize("keys", [["motdepasse"], [Fernet.generate_key().decode()[:-4]], []])
def test_what_is_no_key_is_refused_without_being_shown(
    database: Database, clock: Clock, keys: list[str]
) -> None:
    with pytest.raises(VaultKeyError) as refused:
        Vault(database, keys, clock=clock)
    assert all(key not in str(refused.value) for key in keys)


# --- passwords as they were typed, for targets that want them so ---


def seal_password(database: Database, vault: Vault, password: str = "Été 2026", student: str = LEA) -> str:
    with database.write() as connection:
        return vault.seal_password(connection, student, HASH, password)


@pytest.fixture
def plain(database: Database, keys: list[str], clock: Clock) -> Vault:
    return Vault(database, keys, clock=clock, plain_for={"ad": 60.0, "imprimantes": 600.0})


def test_a_target_that_wants_it_has_a_copy_of_its_own_of_a_password(database: Database, plain: Vault) -> None:
    ref = seal_password(database, plain, "E\u0301te\u0301 2026")
    assert plain.open(ref) == HASH
    assert plain.open(plain_ref(ref, "ad")) == plain.open(plain_ref(ref, "imprimantes")) == "Été 2026"
    assert plain.open(plain_ref(ref, "autre")) is None
    assert all(b"2026" not in (sealed or b"") for sealed in rows(database).values())
    plain.consume({plain_ref(ref, "ad"): None})
    assert plain.open(plain_ref(ref, "ad")) is None
    assert plain.open(plain_ref(ref, "imprimantes")) == "Été 2026"
    assert plain.open(ref) == HASH


def test_without_such_a_target_no_password_is_kept(database: Database, vault: Vault) -> None:
    ref = seal_password(database, vault)
    assert rows(database).keys() == {ref}


def test_a_consumed_copy_takes_the_older_ones_of_its_target_with_it(database: Database, plain: Vault) -> None:
    older, newer = seal_password(database, plain, "un"), seal_password(database, plain, "deux")
    theirs = seal_password(database, plain, "trois", PAUL)
    plain.consume({plain_ref(newer, "ad"): None})
    assert plain.open(plain_ref(older, "ad")) is None
    assert plain.open(plain_ref(older, "imprimantes")) == "un"
    assert plain.open(plain_ref(theirs, "ad")) == "trois"


def test_a_copy_is_not_opened_after_its_time_and_then_erased(
    database: Database, plain: Vault, clock: Clock
) -> None:
    ref = seal_password(database, plain)
    clock.now += 59.0
    assert plain.open(plain_ref(ref, "ad")) == "Été 2026"
    clock.now += 1.0
    assert plain.open(plain_ref(ref, "ad")) is None
    assert rows(database)[plain_ref(ref, "ad")] is not None
    with database.write() as connection:
        assert expire(connection, clock.now) == 1
        assert expire(connection, clock.now) == 0
    assert rows(database)[plain_ref(ref, "ad")] is None
    assert plain.open(plain_ref(ref, "imprimantes")) == "Été 2026"
    assert plain.open(ref) == HASH


def test_the_longest_name_of_a_target_fits(database: Database, keys: list[str], clock: Clock) -> None:
    name = "a" * 31
    vault = Vault(database, keys, clock=clock, plain_for={name: 60.0})
    ref = seal_password(database, vault)
    assert vault.open(plain_ref(ref, name)) == "Été 2026"


# --- the last hash, where it is kept ------------------------------------------------------------------


@pytest.fixture
def keeping(database: Database, keys: list[str], clock: Clock) -> Vault:
    return Vault(database, keys, clock=clock, keep_last=True)


def kept(database: Database) -> dict[str, bytes]:
    with database.read() as connection:
        rows = connection.execute(select(kept_hashes))
        return {row.student_number: row.sealed for row in rows}


def test_no_hash_is_kept_unless_the_site_says_so(database: Database, vault: Vault) -> None:
    ref = seal(database, vault)
    vault.consume({ref: 1.0})
    assert kept(database) == {}
    assert vault.open_kept(ref) is None


def test_the_last_hash_is_kept_sealed_and_its_target_tells_the_time_anew(
    database: Database, keeping: Vault, clock: Clock
) -> None:
    refs = {who: seal(database, keeping, who, f"{HASH}{who}") for who in (LEA, PAUL)}
    redirect = seal(database, keeping, why="mail_redirect")
    keeping.consume(dict.fromkeys((*refs.values(), redirect), 1.0))
    assert kept(database).keys() == {LEA, PAUL}
    assert not any(HASH.encode() in sealed for sealed in kept(database).values())
    assert keeping.open(refs[LEA]) is None, "only for what is gone"
    assert keeping.handed_over([refs[LEA]])[refs[LEA]].kept
    clock.now += 60.0
    assert keeping.open_kept(refs[LEA]) == f"{HASH}{LEA}"
    assert keeping.handed_over([refs[LEA]]) == {refs[LEA]: HandedOver(None, clock.now, kept=True)}
    keeping.consume({refs[LEA]: 2.0})
    assert keeping.handed_over([refs[LEA]])[refs[LEA]].shown_at == 2.0
    assert keeping.handed_over([refs[PAUL]])[refs[PAUL]].shown_at == 1.0


def test_a_new_password_destroys_the_kept_hash_before_any_target_has_it(
    database: Database, keeping: Vault
) -> None:
    old, other = seal(database, keeping), seal(database, keeping, PAUL)
    keeping.consume({old: 1.0, other: 1.0})
    new = seal(database, keeping)
    assert kept(database).keys() == {PAUL}
    again = seal(database, keeping)
    keeping.consume({new: 2.0})
    assert kept(database).keys() == {PAUL}, "a newer one waits already"
    keeping.consume({again: 3.0})
    assert keeping.open_kept(again) is not None
    assert keeping.open_kept(new) is None


def test_kept_hashes_are_destroyed_by_number_and_by_reference(database: Database, keeping: Vault) -> None:
    refs = {who: seal(database, keeping, who) for who in (LEA, PAUL, "22600003")}
    keeping.consume(dict.fromkeys(refs.values(), 1.0))
    with database.write() as connection:
        forget_kept(connection, numbers=[LEA], refs=[None])
    keeping.forget_kept([refs[PAUL]])
    assert kept(database).keys() == {"22600003"}
    assert keeping.open_kept(refs[LEA]) is None


def test_kept_hashes_are_sealed_anew_when_the_key_changes(
    database: Database, keys: list[str], keeping: Vault, clock: Clock
) -> None:
    refs = {who: seal(database, keeping, who, f"{HASH}{who}") for who in (LEA, PAUL)}
    keeping.consume(dict.fromkeys(refs.values(), 1.0))
    turned = new_key()
    Vault(database, [turned, *keys], clock=clock, keep_last=True).tend_kept()
    alone = Vault(database, [turned], clock=clock, keep_last=True)
    for who, ref in refs.items():
        assert alone.open_kept(ref) == f"{HASH}{who}"
    before = kept(database)
    alone.tend_kept()
    assert kept(database) == before
    with pytest.raises(SealBroken):
        keeping.open_kept(refs[LEA])


def test_what_no_key_opens_any_more_is_not_kept(database: Database, keeping: Vault, clock: Clock) -> None:
    ref = seal(database, keeping)
    keeping.consume({ref: 1.0})
    Vault(database, [new_key()], clock=clock, keep_last=True).tend_kept()
    assert kept(database) == {}


def test_a_site_that_keeps_none_any_more_destroys_those_that_it_has(
    database: Database, vault: Vault, keeping: Vault
) -> None:
    refs = [seal(database, keeping, who) for who in (LEA, PAUL)]
    keeping.consume(dict.fromkeys(refs, 1.0))
    assert vault.open_kept(refs[0]) is None
    vault.tend_kept()
    assert kept(database) == {}


def test_a_kept_hash_in_somebody_else_s_row_does_not_open(database: Database, keeping: Vault) -> None:
    refs = {who: seal(database, keeping, who) for who in (LEA, PAUL)}
    keeping.consume(dict.fromkeys(refs.values(), 1.0))
    stolen = kept(database)[PAUL]
    with database.write() as connection:
        mine = kept_hashes.c.student_number == LEA
        connection.execute(kept_hashes.update().where(mine).values(sealed=stolen))
    with pytest.raises(SealBroken):
        keeping.open_kept(refs[LEA])
