"""The port to the application that console and API need: all that acts need."""

from __future__ import annotations

from typing import Protocol

from sesame.acts.ports import (
    Diagnosable,
    Lettering,
    Logged,
    Provided,
    Replaying,
    Restored,
    Sealing,
    Shutting,
    Unlocking,
)
from sesame.operations.privacy.erasure import Erasing


class Site(
    Unlocking,
    Diagnosable,
    Logged,
    Restored,
    Provided,
    Replaying,
    Sealing,
    Shutting,
    Lettering,
    Erasing,
    Protocol,
):
    """Every act may be called with it."""
