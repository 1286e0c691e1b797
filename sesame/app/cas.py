"""Builds CAS client, logins and probe from the settings; None without a server."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from consumers.directory import NAME as DIRECTORY
from pipeline.db.database import Database
from sesame.app.lazy import lazily
from sesame.settings import LiveSecret, Settings

with lazily():  # the CAS library is loaded only where the server is called
    from sesame.login import client as cas_client
    from sesame.login import login, roles
    from sesame.login import probe as login_probe

if TYPE_CHECKING:
    from consumers.directory.trial import Trial


def client(settings: Settings, service_url: str | None = None) -> cas_client.CasClient | None:
    """The CAS server, for the portal or for another service of ours."""
    wanted = settings.cas
    if wanted.server_url is None:
        return None
    return cas_client.CasClient(
        wanted.server_url,
        service_url or wanted.service_url,
        ca_file=wanted.ca_file,
    )


def logins(settings: Settings, database: Database) -> login.CasLogins | None:
    """Logins by CAS at the portal."""
    server = client(settings)
    return None if server is None else login.CasLogins(database, server)


def console(settings: Settings, database: Database) -> tuple[cas_client.CasClient, login.CasLogins] | None:
    """The CAS server for the console, and its logins, with the roles of the settings."""
    wanted = settings.console
    server = client(settings, wanted.login_url)
    if server is None:
        return None
    by_roles = partial(roles.roles_of, wanted.roles)
    return server, login.CasLogins(database, server, session_s=60.0 * wanted.session_min, roles_of=by_roles)


def probe(settings: Settings, try_login: Callable[[str, str], Trial]) -> login_probe.LoginProbe | None:
    """The login probe, which tries no login without a password. `try_login` asks the directory itself.

    Raises:
        SettingsError: the account's password cannot be read.
    """
    wanted = settings.cas
    password = LiveSecret(wanted, "probe_password") if wanted.has_secret("probe_password") else None
    return probe_of(settings, try_login, wanted.probe_login, password)


def probe_of(
    settings: Settings,
    try_login: Callable[[str, str], Trial],
    login: str,
    password: Callable[[], str] | None,
) -> login_probe.LoginProbe | None:
    """As `probe`, of this account."""
    server = client(settings)
    if server is None:
        return None
    second_look = try_login if DIRECTORY in settings.targets else None
    return login_probe.LoginProbe(server, login, password, second_look=second_look)
