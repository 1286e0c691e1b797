"""From the settings to each target's handler."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from consumers.mailbox.welcome_journal import WelcomeMessages
from pipeline.db.database import Database
from pipeline.locks import SiteLocks
from pipeline.target import Handler
from pipeline.vault import Vault
from sesame.app.handlers import AdoptionGate, Credentials, DryRun
from sesame.operations.adoption import adoptions
from sesame.operations.adoption.adoptions import adopted_mailboxes
from sesame.operations.managed_cohorts import ManagedCohorts
from sesame.settings import LiveSecret, Settings

if TYPE_CHECKING:  # a target's libraries are loaded where it is asked: most commands ask none
    from consumers.directory.upsert import LdapDirectory
    from consumers.mailbox.mailboxes import DovecotMailboxes
    from consumers.mailbox.welcome import Welcome
    from consumers.moodle.port import MoodlePort


def handler(target: str, settings: Settings, database: Database, vault: Vault) -> Handler:
    """The handler of a target, by its name; it only observes where the settings say so.

    Raises:
        SettingsError: a secret is missing.
    """
    makers: dict[str, Callable[[], Handler]] = {
        "directory": lambda: _directory(settings, database, vault),
        "mailbox": lambda: _mailbox(settings, database),
        "moodle": lambda: _moodle(settings, database),
        "timetable": lambda: _timetable(settings),
    }
    made = AdoptionGate(makers[target](), database)
    return DryRun(made) if target in settings.observed else made


def execution_s_max(target: str, settings: Settings) -> float:
    """How long a target may go on, in seconds, with a call that was given up."""
    seconds: float = getattr(settings, target).execution_s_max
    return seconds


def ldap_directory(
    settings: Settings, *, read_only: bool = False, password: LiveSecret | None = None
) -> LdapDirectory:
    """The directory, as its port has it; `read_only` whatever the settings say.

    Raises:
        SettingsError: a secret is missing.
    """
    from consumers.directory.ldap import Endpoint, LdapClient
    from consumers.directory.port import Branches
    from consumers.directory.upsert import LdapDirectory

    wanted = settings.directory
    endpoint = Endpoint(
        uri=wanted.uri,
        bind_dn=wanted.bind_dn,
        password=password or LiveSecret(wanted, "bind_password"),
        ca_file=wanted.ca_file,
        connect_timeout_s=wanted.connect_timeout_s,
        receive_timeout_s=wanted.receive_timeout_s,
        read_only=read_only or wanted.mode == "observe",
    )
    branches = Branches(
        wanted.people_dn,
        wanted.groups_dn,
        wanted.probe_dn,
        static_groups=wanted.group_kind == "static",
        policy=wanted.policy_dn,
    )
    return LdapDirectory(LdapClient(endpoint), branches)


def dovecot_mailboxes(
    settings: Settings, *, read_only: bool = False, api_key: LiveSecret | None = None
) -> DovecotMailboxes:
    """The mail server, as its port has it; `read_only` whatever the settings say.

    Raises:
        SettingsError: a secret is missing.
    """
    from consumers.mailbox.dovecot import Doveadm
    from consumers.mailbox.lmtp import Lmtp
    from consumers.mailbox.mailboxes import DovecotMailboxes
    from consumers.mailbox.transport import context_of

    wanted = settings.mailbox
    doveadm = Doveadm(
        wanted.doveadm_url,
        api_key or LiveSecret(wanted, "api_key"),
        ca_file=wanted.ca_file,
        connections_max=settings.engine.slots + 1,  # the probe has one too
        read_only=read_only or wanted.mode == "observe",
    )
    lmtp = Lmtp(
        wanted.lmtp_host,
        wanted.lmtp_port,
        sender=wanted.sender,
        context=context_of(wanted.ca_file),
    )
    return DovecotMailboxes(doveadm, lmtp, probe_user=wanted.probe_user, timeout_s=wanted.timeout_s)


def welcome_of(settings: Settings) -> Welcome:
    """The welcome message, as this site sends it."""
    from consumers.mailbox.welcome import Welcome

    wanted = settings.mailbox
    return Welcome(wanted.sender, wanted.portal_url, wanted.support, lambda: datetime.now(UTC))


def moodle_site(
    settings: Settings, database: Database, *, read_only: bool = False, token: LiveSecret | None = None
) -> MoodlePort:
    """The Moodle site, as its port has it; `read_only` whatever the settings say.

    Raises:
        SettingsError: a secret is missing.
    """
    from consumers.moodle import handler

    wanted = settings.moodle
    managed = ManagedCohorts(database, [template.key for template in settings.registry.cohorts])
    return handler.moodle_site(
        wanted.model_copy(update={"mode": "observe"}) if read_only else wanted,
        lock=SiteLocks(database),
        is_managed=managed,
        token=token or LiveSecret(wanted, "token"),
    )


def _directory(settings: Settings, database: Database, vault: Vault) -> Handler:
    from consumers.directory.entry import Profile
    from consumers.directory.handler import DirectoryHandler

    wanted = settings.directory
    profile = Profile(wanted, settings.registry.principal_scope)
    password = LiveSecret(wanted, "bind_password")  # missing: say so now, not at the first student
    handler = DirectoryHandler(
        ldap_directory(settings, password=password),
        vault,
        profile,
        system=f"LDAP {wanted.uri}",
        batch_size=wanted.batch_size,
        work_s_max=wanted.call_s_max,
        adopted=lambda numbers: _adopted(database, "directory", numbers),
    )
    return Credentials(handler, password)


def _mailbox(settings: Settings, database: Database) -> Handler:
    from consumers.mailbox.difference import WantedMailbox
    from consumers.mailbox.handler import MailboxHandler

    wanted = settings.mailbox
    api_key = LiveSecret(wanted, "api_key")
    handler = MailboxHandler(
        dovecot_mailboxes(settings, api_key=api_key),
        WelcomeMessages(database, clock=time.time, adopted=adopted_mailboxes),
        welcome_of(settings),
        WantedMailbox(wanted.folders, settings.directory.mail_quota_bytes),
        system=f"Dovecot {wanted.doveadm_url}",
        batch_size=wanted.batch_size,
        work_s_max=wanted.call_s_max,
    )
    return Credentials(handler, api_key)


def _moodle(settings: Settings, database: Database) -> Handler:
    from consumers.moodle.handler import MoodleHandler
    from consumers.moodle.port import AdoptedUser

    token = LiveSecret(settings.moodle, "token")
    handler = MoodleHandler(
        moodle_site(settings, database, token=token),
        settings.moodle,
        adopted=lambda numbers: {
            number: AdoptedUser.of(user) for number, user in _adopted(database, "moodle", numbers).items()
        },
    )
    return Credentials(handler, token)


def _timetable(settings: Settings) -> Handler:
    from consumers.timetable.handler import TimetableHandler
    from consumers.timetable.ical import IcalTimetable

    wanted = settings.timetable
    service = IcalTimetable(
        wanted,
        token=LiveSecret(wanted, "token") if wanted.has_secret("token") else None,
        connections_max=settings.engine.slots + 1,  # the probe has one too
    )
    return TimetableHandler(
        service,
        system=f"iCalendar {wanted.server}",
        batch_size=wanted.batch_size,
        work_s_max=wanted.call_s_max,
        recheck_s=wanted.recheck_s,
    )


def _adopted(database: Database, target: str, numbers: Sequence[str]) -> Mapping[str, str]:
    """What was there before Sésame, and was found to be these students'."""
    with database.read() as connection:
        return adoptions.objects_of(connection, target, numbers)
