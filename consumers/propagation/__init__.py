"""Joins the targets' outcomes per student, and announces completion, lateness and breach."""

from consumers.propagation.handler import BREACHED, LATE, Propagation, Said
from consumers.propagation.settings import PropagationSettings

__all__ = ["BREACHED", "LATE", "Propagation", "PropagationSettings", "Said"]
