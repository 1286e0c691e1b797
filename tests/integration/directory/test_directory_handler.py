"""Accounts in, a real directory, outcomes out: passwords, holds, read-back."""

from __future__ import annotations

from consumers.kit.passwords import CREDENTIAL_NEEDED
from pipeline.target import Done, Task, Waiting
from sandbox.slapd import Slapd
from schemas.account import Account, Hold, Stage
from sesame.testing.servers.directory_kit import Consumer, account, fresh_number
from sesame.testing.servers.ldap_tools import as_provisioner, can_log_in, search

PASSWORD = "Mon-Mot-de-Passe-2026!"


def dn_of(slapd: Slapd, one: Account) -> str:
    return f"uid={one.login},{slapd.people_dn}"


def csn(slapd: Slapd, one: Account) -> list[str]:
    (entry,) = search(slapd, dn_of(slapd, one), "(uid=*)", "entryCSN").values()
    return entry["entryCSN"]


def test_an_activated_student_logs_in_with_the_password_of_the_vault(
    slapd: Slapd, consumer: Consumer
) -> None:
    ref = consumer.vault.put("ref-activation-1", PASSWORD)
    one = account(credential_ref=ref)
    outcome = consumer.bring(one)
    assert isinstance(outcome, Done)
    assert outcome.changed
    assert can_log_in(slapd, dn_of(slapd, one), PASSWORD)
    assert consumer.vault.hashes[ref] is None, "the directory has it, so the vault has not"


def test_a_consumed_reference_is_a_no_op(slapd: Slapd, consumer: Consumer) -> None:
    one = account(credential_ref=consumer.vault.put("ref-activation-2", PASSWORD))
    first = consumer.bring(one)
    before = csn(slapd, one)
    second = consumer.bring(one)
    assert isinstance(first, Done)
    assert second == Done(digest=first.digest, changed=False)
    assert csn(slapd, one) == before


def test_what_somebody_else_changed_is_put_right_and_has_the_old_digest_again(
    slapd: Slapd, consumer: Consumer
) -> None:
    one = account()
    first = consumer.bring(one)
    drift = f"dn: {dn_of(slapd, one)}\nchangetype: modify\nreplace: sn\nsn: Durand\n"
    as_provisioner(slapd, "ldapmodify", stdin=drift)
    again = consumer.handler.handle([Task(one, compare=True)])[one.student_number]
    assert isinstance(first, Done)
    assert again == Done(digest=first.digest, changed=True)


def test_a_password_that_neither_vault_nor_directory_has_is_asked_of_the_student(consumer: Consumer) -> None:
    one = account(credential_ref="ref-perdue-1")
    assert consumer.bring(one) == Waiting(CREDENTIAL_NEEDED)


def test_a_changed_password_replaces_the_former(slapd: Slapd, consumer: Consumer) -> None:
    one = account(credential_ref=consumer.vault.put("ref-avant-1", PASSWORD))
    consumer.bring(one)
    changed = account(
        one.student_number, version=2, credential_ref=consumer.vault.put("ref-apres-1", "Un-Autre-Mot-2026!")
    )
    consumer.bring(changed)
    assert can_log_in(slapd, dn_of(slapd, one), "Un-Autre-Mot-2026!")
    assert not can_log_in(slapd, dn_of(slapd, one), PASSWORD)


def test_a_hold_shuts_login_and_mail_and_lifting_it_opens_them_with_the_same_password(
    slapd: Slapd, consumer: Consumer
) -> None:
    ref = consumer.vault.put("ref-suspension", PASSWORD)
    one = account(credential_ref=ref)
    consumer.bring(one)
    held = consumer.bring(
        account(one.student_number, version=2, credential_ref=ref, holds=frozenset({Hold.ADMINISTRATIVE}))
    )
    assert isinstance(held, Done)
    assert not can_log_in(slapd, dn_of(slapd, one), PASSWORD)
    (shut,) = search(slapd, dn_of(slapd, one), "(uid=*)", "sesameMailEnabled", "supannRessourceEtat").values()
    assert shut["sesameMailEnabled"] == ["FALSE"]
    assert "{COMPTE}S:VerrouAdministratif" in shut["supannRessourceEtat"]
    lifted = consumer.bring(account(one.student_number, version=3, credential_ref=ref))
    assert isinstance(lifted, Done)
    assert can_log_in(slapd, dn_of(slapd, one), PASSWORD)


def test_a_password_changed_during_a_hold_does_not_open_the_account(slapd: Slapd, consumer: Consumer) -> None:
    one = account(credential_ref=consumer.vault.put("ref-avant-blocage", PASSWORD))
    consumer.bring(one)
    new = consumer.vault.put("ref-pendant-blocage", "Pendant-Blocage-2026!")
    holds = frozenset({Hold.SUSPENDED})
    assert isinstance(consumer.bring(account(one.student_number, version=2, holds=holds)), Done)
    during = account(one.student_number, version=3, holds=holds, credential_ref=new)
    assert isinstance(consumer.bring(during), Done)
    assert not can_log_in(slapd, dn_of(slapd, one), "Pendant-Blocage-2026!")
    assert not can_log_in(slapd, dn_of(slapd, one), PASSWORD)
    assert isinstance(consumer.bring(account(one.student_number, version=4, credential_ref=new)), Done)
    assert can_log_in(slapd, dn_of(slapd, one), "Pendant-Blocage-2026!")


def test_an_expired_account_is_shut_and_of_an_erased_one_nothing_is_left(
    slapd: Slapd, consumer: Consumer
) -> None:
    number = fresh_number()
    one = account(number, credential_ref=consumer.vault.put("ref-fin", PASSWORD))
    consumer.bring(one)
    assert isinstance(consumer.bring(account(number, version=2, stage=Stage.EXPIRED)), Done)
    assert not can_log_in(slapd, dn_of(slapd, one), PASSWORD)
    assert isinstance(consumer.bring(account(number, version=3, stage=Stage.ERASED)), Done)
    assert search(slapd, slapd.people_dn, f"(uid={one.login})") == {}
    assert isinstance(consumer.bring(account(number, version=3, stage=Stage.ERASED)), Done)
