"""The file of minted addresses, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.db.database import Database
from schemas.account import Stage
from sesame.acts.acts import Actor, ActRefused, Role
from sesame.operations.identities.addresses import AddressesRequest, WrittenAddress, addresses
from sesame.testing.servers.database_kit import START
from sesame.testing.servers.population_kit import OPERATOR, everywhere, site_of, student

TARGETS = ("directory", "post", "moodle")


def site(database: Database) -> Any:
    made = site_of(database, TARGETS)
    roles = {"post": "mailbox"}
    made.settings.connector_of = lambda name: SimpleNamespace(
        connector=SimpleNamespace(role=roles.get(name)) if name != "moodle" else None
    )
    return made


def listed(database: Database, **asked: Any) -> list[tuple[str, str]]:
    found = addresses(site(database), OPERATOR, AddressesRequest(**asked))
    return [(one.student_number, one.mail) for one in found]


def test_who_has_a_mailbox_is_listed_with_the_address(database: Database) -> None:
    """One everywhere, one whose mailbox waits, one without any, two numbers that differ by case alone."""
    student(database, "22600002", "completed", seen={"post": ("provisioned", 9.0)})
    student(database, "22600001", "completed", seen={**everywhere(2.0), "post": ("provisioned", 3.0)})
    student(database, "22600003", "waiting", seen={"post": ("waiting", 4.0)})
    student(database, "22600004", "in_progress", seen={"directory": ("provisioned", 5.0)})
    for number in ("ab1", "AB1"):
        student(database, number, "completed", seen={"post": ("provisioned", 6.0)})
    expected = ["22600001", "22600002", "AB1", "ab1"]
    found = listed(database)
    assert sorted(number for number, _ in found) == expected
    assert all(mail == f"login.{number}@etu.univ-exemple.fr" for number, mail in found)
    assert [number for number, _ in listed(database, since=START + 7.0)] == ["22600002"]


def test_who_is_given_no_mailbox_is_not_listed(database: Database) -> None:
    done = {"post": ("provisioned", 3.0)}
    student(database, "22600001", "completed", seen=done, stages={"post": Stage.PRECREATED})
    student(database, "22600002", "completed", seen=done, stages={"moodle": Stage.PRECREATED})
    assert [number for number, _ in listed(database)] == ["22600002"]


def test_when_the_mailbox_was_found_is_told(database: Database) -> None:
    student(database, "22600001", "completed", seen={"post": ("provisioned", 3.0)})
    at = datetime.fromtimestamp(START + 3.0, UTC)
    assert addresses(site(database), OPERATOR, AddressesRequest()) == (
        WrittenAddress(student_number="22600001", mail="login.22600001@etu.univ-exemple.fr", at=at),
    )


def test_a_viewer_gets_no_address(database: Database) -> None:
    with pytest.raises(ActRefused):
        addresses(site(database), Actor("ana", frozenset({Role.VIEWER})), AddressesRequest())
