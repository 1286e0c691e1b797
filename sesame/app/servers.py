"""From the settings to each target's own server, as its port has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesame.settings import LiveSecret, Settings

if TYPE_CHECKING:  # a target's libraries are loaded on use: most commands need none
    from consumers.directory.upsert import LdapDirectory


def execution_s_max(target: str, settings: Settings) -> float:
    """How long a target may continue, in seconds, with a call that was given up."""
    section = getattr(settings, target)
    seconds: float = getattr(
        section, "execution_s_max", 0.0
    )  # of a connector that cannot be used there is none
    return seconds


def ldap_directory(settings: Settings, *, read_only: bool = False) -> LdapDirectory:
    """The directory, as its port has it; `read_only` whatever the settings say.

    Raises:
        SettingsError: a secret is missing.
    """
    from consumers.directory.upsert import LdapDirectory

    wanted = settings.directory
    return LdapDirectory.connected(wanted, LiveSecret(wanted, "bind_password"), read_only=read_only)
