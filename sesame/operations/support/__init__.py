"""Support: a short code that leads the desk to a student's case, and the case as a message to that desk."""

from sesame.operations.support.bundle import Bundle, SupportDesk
from sesame.operations.support.cases import Case, Support, UnknownCode

__all__ = ["Bundle", "Case", "Support", "SupportDesk", "UnknownCode"]
