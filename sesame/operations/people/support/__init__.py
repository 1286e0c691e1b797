"""Support: a short code that leads the desk to a student's case, sent by mail."""

from sesame.operations.people.support.bundle import Bundle, SupportDesk
from sesame.operations.people.support.cases import Case, Support, UnknownCode

__all__ = ["Bundle", "Case", "Support", "SupportDesk", "UnknownCode"]
