"""A copy of the store that is older than an erasure is put back: the receipt has the person erased again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from consumers.kit.connector import TargetObject
from pipeline.errors import TargetDown
from schemas import catalogue
from schemas.account import Hold, Stage
from sesame.acts import life
from sesame.acts.admission import Notes
from sesame.operations.access import holds
from sesame.operations.access.holds import HoldChangeRequest
from sesame.operations.privacy import acts
from sesame.operations.privacy.acts import ErasureRequest
from sesame.operations.privacy.again import ReceiptOutcome, ReceiptsGiven, again, unknown
from sesame.operations.privacy.erasure import enrolled
from sesame.operations.privacy.receipts import ReceiptRefused, verify
from sesame.testing.servers.registry_kit import activation
from sesame.testing.servers.waiting import until
from tests.integration.privacy.test_erasure import (
    DPO,
    LEA,
    LEA_TOO,
    PAUL,
    complete,
    enrol,
    erase,
    erased,
    held,
    leave,
    live_through,
    login,
    stage,
    traces,
)
from tests.integration.targets.site_kit import Site, running

TARGETS = ("directory", "mailbox", "moodle")


class SiteThatLooks(Site):
    """Its targets show the students in `shown`, and `down` is not reached."""

    shown: frozenset[str] = frozenset()
    down: frozenset[str] = frozenset()

    @contextmanager
    def connector(self, target: str, *, writes: bool = False) -> Iterator[Any]:
        def read(accounts: Any, _deadline: Any) -> dict[str, Any]:
            if target in self.down:
                raise TargetDown("away")
            numbers = [each.student_number for each in accounts if each.student_number in self.shown]
            return {number: [TargetObject(f"{target}/{number}", number)] for number in numbers}

        yield SimpleNamespace(read=read)


class Copied:
    """A site whose store can be put back as it was."""

    def __init__(self, folder: Path, settings: str) -> None:
        self._opened = (folder, settings)
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self.site = self.open()

    def open(self) -> SiteThatLooks:
        return SiteThatLooks(*self._opened, in_memory=TARGETS)

    def copy(self) -> None:
        with self.site.database.read() as connection:
            for table in self.site.tables.sorted_tables:
                self._rows[table.name] = [dict(row) for row in connection.execute(select(table)).mappings()]

    def put_back(self) -> SiteThatLooks:
        """Tables as they were when they were copied, all but the audit, which is only appended to."""
        tables = [each for each in self.site.tables.sorted_tables if not each.name.startswith("audit")]
        with self.site.database.write() as connection:
            for table in reversed(tables):
                connection.execute(delete(table))
            for table in tables:
                if rows := self._rows[table.name]:
                    connection.execute(insert(table), rows)
        self.site.close()
        self.site = self.open()
        with self.site.database.write() as connection:
            beats = life.reopen(connection, self.site.database.now(connection), above=10_000)
            name = life.of(connection, self.site.database).name
        Notes.of(self.site).write(name, beats)
        return self.site


@pytest.fixture
def copied(tmp_path: Path, store_url: str) -> Iterator[Copied]:
    store = "" if store_url.startswith("sqlite") else f'[store]\nurl = "{store_url}"\n'
    made = Copied(tmp_path / "site", f"targets = {json.dumps(TARGETS)}\n{store}")
    yield made
    made.site.close()


def lost(copied: Copied) -> bytes:
    """Léa was erased after the copy was made, which is put back; her receipt."""
    with running(copied.site):
        live_through(copied.site)
    copied.copy()
    with running(copied.site):
        document = erased(copied.site, erase(copied.site))
        assert traces(copied.site) == []
    assert unknown(copied.site) == []
    copied.put_back()
    return document


def is_enrolled(site: Site) -> bool:
    with site.database.read() as connection:
        return enrolled(site, connection, [LEA])


def given(site: Site, *documents: bytes) -> list[ReceiptOutcome]:
    named = {f"{at}.json": document for at, document in enumerate(documents)}
    return again(site, DPO, ReceiptsGiven(documents=named or None))


def test_whom_an_older_copy_brings_back_is_erased_again_by_the_receipt(copied: Copied) -> None:
    document = lost(copied)
    site = copied.site
    assert stage(site) is Stage.GRACE, "the copy has brought her back"
    [kept] = unknown(site)
    [said] = given(site)
    assert (said.receipt, said.outcome, said.student_number) == (kept.removesuffix(".json"), "asked", LEA)
    assert given(site, document)[0].outcome == "under_way"
    with running(site):
        again_ = erased(site, acts.standing(site, DPO, said.erasure or ""))
        assert traces(site) == []
        assert stage(site, PAUL) is Stage.ACTIVE
    receipt = verify(again_, fingerprint=None, privacy=site.privacy, student=LEA).receipt
    assert said.receipt in receipt.reason
    assert {line.target for line in receipt.targets} == set(TARGETS)
    assert unknown(site) == []
    assert {(each.outcome, each.student_number) for each in given(site, document, again_)} == {
        ("absent", None)
    }


def test_who_came_back_is_left_alone_whatever_receipt_is_given(copied: Copied) -> None:
    document = lost(copied)
    given(copied.site)
    site = copied.site
    with running(site):
        until(lambda: stage(site) is None, site.letters)
        until(lambda: {each.state for each in acts.listed(site, DPO)} == {"done"})
        enrol(site, sequence=3)
        until(lambda: login(site) != "")
        assert given(site, document)[0].outcome == "returned", "the store knows of the erasure"
        leave(site, sequence=4)
        until(lambda: not is_enrolled(site))
        assert given(site, document)[0].outcome == "returned", "and is erased by name only"


def test_what_cannot_be_told_is_refused_and_the_store_learns_nothing(copied: Copied) -> None:
    document = lost(copied)
    site = copied.site

    def said() -> ReceiptOutcome:
        [one] = given(site, document)
        assert unknown(site), "the receipt is not settled"
        assert [each.id for each in acts.listed(site, DPO)] == []
        return one

    site.shown = frozenset({LEA})
    assert (said().outcome, said().targets) == ("shown", TARGETS)
    site.shown, site.down = frozenset({PAUL}), frozenset({"moodle"})
    assert (said().outcome, said().targets) == ("unseen", ("moodle",))
    site.down = frozenset()
    hold = HoldChangeRequest(student_number=LEA_TOO, kind=Hold.ADMINISTRATIVE, reason="case")
    with running(site):
        holds.place(site, DPO, hold)
        until(lambda: held(site))
        assert said().outcome == "held"
        holds.lift(site, DPO, hold)
        until(lambda: not held(site))
        enrol(site, sequence=3)
        until(lambda: stage(site) is Stage.ACTIVE)
        assert said().outcome == "enrolled", "came back, or the registrar's file is not imported yet"
    assert stage(site) is Stage.ACTIVE


def test_who_activated_the_account_after_the_receipt_has_come_back(copied: Copied) -> None:
    """As an older copy that was worked with: it does not know the erasure, and the activation is of after."""
    with running(copied.site):
        enrol(copied.site)
        until(lambda: stage(copied.site) is Stage.PRECREATED)
        leave(copied.site)
        until(lambda: not is_enrolled(copied.site))
    copied.copy()
    with running(copied.site):
        document = erased(copied.site, erase(copied.site))
    site = copied.put_back()
    with running(site):
        enrol(site, sequence=3)
        site.say(activation(LEA), catalogue.ACTIVATIONS)
        until(lambda: complete(site), site.letters)
        leave(site, sequence=4)
        until(lambda: stage(site) is Stage.GRACE)
        assert given(site, document)[0].outcome == "returned"
    assert stage(site) is Stage.GRACE


def test_a_changed_receipt_or_one_of_another_site_stops_all_of_them(copied: Copied, tmp_path: Path) -> None:
    document = lost(copied)
    site = copied.site
    with closing(SiteThatLooks(tmp_path / "other", f"targets = {json.dumps(TARGETS)}\n")) as other:
        with pytest.raises(ReceiptRefused, match=r"0\.json") as refused:
            given(other, document)
        assert "signed by another key" in refused.value.remedy
    for bad in (
        document.replace(b"retention", b"Retention").replace(b"asked", b"Asked"),
        document[:-1],
        b"{}",
    ):
        assert bad != document
        with pytest.raises(ReceiptRefused, match=r"1\.json"):
            given(site, document, bad)
    assert ReceiptRefused.exit_code == 6
    assert acts.listed(site, DPO) == []
    acts.erase(site, DPO, ErasureRequest(student_number=LEA, reason="by hand"))
