"""Holds: an operator shuts a student's access at once, or says that the reason is gone."""

from producers.holds.publish import HoldRequest, lift, place

__all__ = ["HoldRequest", "lift", "place"]
