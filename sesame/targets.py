"""From the settings to each target's handler."""

from __future__ import annotations

import re
from collections.abc import Callable

from consumers import directory, moodle
from pipeline.store.database import Database
from pipeline.store.locks import SiteLocks
from pipeline.target import Handler
from pipeline.vault import Vault
from schemas.events import PropagationCompleted
from sesame.settings import Settings

OnCompleted = Callable[[PropagationCompleted], None]


def handler(target: str, settings: Settings, database: Database, vault: Vault) -> Handler:
    """The handler of a target, by its name.

    Raises:
        SettingsError: a secret is missing.
    """
    makers: dict[str, Callable[[], Handler]] = {
        "directory": lambda: _directory(settings, vault),
        "mailbox": lambda: _mailbox(settings, database),
        "moodle": lambda: _moodle(settings, database),
    }
    return makers[target]()


def managed_cohorts(settings: Settings) -> Callable[[str], bool]:
    """Whether a cohort's idnumber is one that the settings' templates can produce: such cohorts are ours."""
    patterns = [re.compile(_pattern(template.key)) for template in settings.registry.cohorts]
    return lambda idnumber: any(pattern.fullmatch(idnumber) for pattern in patterns)


def _pattern(template: str) -> str:
    """The regular expression of all that a template can produce; a year is four digits."""
    parts = re.split(r"(\{[a-z_]+\})", template)
    named = {"{year}": r"[0-9]{4}"}
    return "".join(
        named.get(part, r".+") if part.startswith("{") else re.escape(part) for part in parts if part
    )


def _directory(settings: Settings, vault: Vault) -> Handler:
    wanted = settings.directory
    wanted.secret("bind_password")  # missing: say so now, not at the first student
    endpoint = directory.Endpoint(
        uri=wanted.uri,
        bind_dn=wanted.bind_dn,
        password=lambda: wanted.secret("bind_password").get_secret_value(),
        ca_file=wanted.ca_file,
        connect_timeout_s=wanted.connect_timeout_s,
        receive_timeout_s=wanted.receive_timeout_s,
    )
    branches = directory.Branches(wanted.people_dn, wanted.groups_dn, wanted.probe_dn)
    profile = directory.Profile(
        uai=wanted.uai,
        registrar=wanted.registrar,
        organisation_dn=wanted.organisation_dn,
        step_format=wanted.step_format,
        cursus_pattern=wanted.cursus_pattern,
        mail_quota_bytes=wanted.mail_quota_bytes,
        scope=settings.registry.scope,
    )
    return directory.DirectoryHandler(
        directory.LdapDirectory(directory.LdapClient(endpoint), branches),
        vault,
        profile,
        system=f"LDAP {wanted.uri}",
        batch_size=wanted.batch_size,
    )


def _mailbox(settings: Settings, database: Database) -> Handler:
    raise NotImplementedError


def _moodle(settings: Settings, database: Database) -> Handler:
    site = settings.moodle.site()
    return moodle.MoodleHandler(site, lock=SiteLocks(database), is_managed=managed_cohorts(settings))
