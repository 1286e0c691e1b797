"""Joins the targets' outcomes per student, and announces completion, lateness and breach."""

from consumers.propagation.handler import BREACHED, LATE, Propagation, Said
from consumers.propagation.window import Objectives

__all__ = ["BREACHED", "LATE", "Objectives", "Propagation", "Said"]
