"""Identities: an operator says whether two numbers are one person, or a number still has its holder."""

from producers.identities.publish import DecisionRequest, decide

__all__ = ["DecisionRequest", "decide"]
