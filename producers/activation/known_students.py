"""Ports to the known students, for activation; the registry implements them."""
# ruff: noqa: D102 - each property is described with its class

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Protocol

from sqlalchemy import Connection

from schemas.account import Hold


class CivilNames(Protocol):
    """A student's names, as the registrar last sent them; empty: no such name."""

    @property
    def birth_name(self) -> str: ...
    @property
    def usage_name(self) -> str | None: ...
    @property
    def given_name(self) -> str: ...
    @property
    def preferred_given_name(self) -> str | None: ...
    @property
    def birth_date(self) -> date: ...


class KnownStudent(Protocol):
    """A student's data for judging a password, notices, and closed access. `activated_at`: epoch seconds."""

    @property
    def identity(self) -> CivilNames: ...
    @property
    def preferred_given_name(self) -> str | None: ...
    @property
    def personal_mail(self) -> str | None: ...
    @property
    def ine(self) -> str | None: ...
    @property
    def activated_at(self) -> float | None: ...
    @property
    def holds(self) -> Collection[Hold]: ...


class Asked(Protocol):
    """When a known student requested the account (epoch seconds), and the password."""

    @property
    def activated_at(self) -> float | None: ...
    @property
    def credential_ref(self) -> str | None: ...


class Contact(Protocol):
    """How to write to a student.

    The number that the person keeps, the registrar's personal address and mobile number, the stage of the
    account (None: there is none), and since when it is activated.
    """

    @property
    def student_number(self) -> str: ...
    @property
    def personal_mail(self) -> str | None: ...
    @property
    def mobile(self) -> str | None: ...
    @property
    def stage(self) -> str | None: ...
    @property
    def activated_at(self) -> float | None: ...


class KnownStudents(Protocol):
    """Reads in the caller's transaction; changes nothing."""

    def known(self, connection: Connection, student_number: str) -> KnownStudent | None:
        """The student of this number; None: unknown number."""

    def contact(self, connection: Connection, student_number: str) -> Contact | None:
        """How to write to the student of this number; None: unknown number."""

    def asked_by(self, connection: Connection, students: Collection[str]) -> Mapping[str, Asked]:
        """The known ones of these students (at most some hundreds), with their requests."""
