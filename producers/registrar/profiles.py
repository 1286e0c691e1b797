"""Chooses a profile: one that comes with Sésame, or a mapping file of the site's own."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import SesameError
from producers.registrar.mapping import read_mapping
from producers.registrar.pegase import pegase
from producers.registrar.profile import FeedProfile, apogee

PROFILES = ("apogee", "pegase")
"""The profiles that come with Sésame."""


class UnknownProfile(SesameError):
    """There is no such profile."""

    exit_code = 2


def choose(which: str | Path, *, payment_required: bool = True, one_name: bool = False) -> FeedProfile:
    """The profile of this name, or the one that the mapping file at this path describes.

    Args:
        which: `apogee`, `pegase`, or the path of a file whose name ends in `.toml`.
        payment_required: for Apogée; see `apogee`. A mapping file says it for itself, Pégase by the state.
        one_name: for Apogée and Pégase; see `FeedProfile`. A mapping file says it for itself.

    Raises:
        UnknownProfile: neither.
        MappingUnusable: the mapping file has faults.
    """
    if which == "apogee":
        return apogee(payment_required=payment_required, one_name=one_name)
    if which == "pegase":
        return pegase(one_name=one_name)
    if str(which).endswith(".toml"):
        return read_mapping(Path(which))
    raise no_such_profile(which)


def no_such_profile(which: str | Path) -> UnknownProfile:
    """What to say when a name is neither."""
    return UnknownProfile(
        f"{which}: no such profile",
        remedy=f"Choose {', '.join(PROFILES)}, or a mapping file whose name ends in .toml.",
    )
