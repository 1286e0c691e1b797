"""Identities: an operator says whether two numbers are one person, or a number still has its holder."""

from producers.identities.publish import Decision, decide

__all__ = ["Decision", "decide"]
