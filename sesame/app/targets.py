"""From the settings to each target's handler."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from consumers.kit.connector import (
    MAIL_ROLE,
    AdoptedRef,
    Anything,
    ConnectorContext,
    ConnectorUnusable,
    SiteFacts,
)
from consumers.kit.passwords import KnownPasswords, NoPasswords, Passwords, SealedPasswords
from consumers.kit.settings import ConnectorSettings, PlainPasswordSettings
from pipeline.db.database import Database
from pipeline.errors import Misconfigured, SesameError, TargetDown, fault
from pipeline.target import Handler
from sesame.acts.ports import target_in_role
from sesame.app.handlers import GuardedHandler, Unusable
from sesame.app.lazy import lazily
from sesame.operations.questions.adoption import adoptions
from sesame.operations.questions.adoption.adoptions import NUMBER_AFTER
from sesame.operations.targets.managed_cohorts import ManagedCohorts
from sesame.settings import LiveSecret, Settings

with lazily():
    from consumers.registry import esi
    from consumers.registry.erasure import privacy_key
    from producers.registrar.pegase import client as pegase_client

if TYPE_CHECKING:
    from pipeline.vault import Vault
    from producers.registrar.pegase.settings import PegaseSettings
    from sesame.app.observability.tracing import Traces


def handler(
    target: str, settings: Settings, database: Database, vault: Callable[[], Vault], traces: Traces | None
) -> Handler:
    """The handler of a target; it only observes where the settings say so.

    `vault` is called for targets that are given passwords: the others' processes need no key of it.

    Raises:
        SettingsError: a secret is missing.
        VaultKeyError: the vault's key cannot be used.
    """
    calling: dict[str, Any] = {} if traces is None else {"calling": traces.calling}
    made: Handler
    asking: list[str] = []
    try:
        passwords = _passwords(target, settings, vault)
        connector, secrets = _made(target, settings, database, passwords=passwords)
        made = connector.handler()
        asking = [token for token, reason in connector.reasons.items() if reason.asks]
        if traces is not None:
            traces.verbs(target, connector)
    except ConnectorUnusable as error:  # it reports why, and the others continue
        made, secrets = Unusable(target, error), {}
    return GuardedHandler(
        made,
        database,
        secrets=secrets.values(),
        asking=asking,
        observed=target in settings.observed,
        **calling,
    )


def connector(target: str, settings: Settings, database: Database, *, read_only: bool = True) -> Anything:
    """A connector that is found by entry point; `read_only`: whatever the settings say.

    Raises:
        ConnectorUnusable: its package or its section is wrong.
        SettingsError: a secret is missing.
    """
    return _made(target, settings, database, read_only=read_only)[0]


def _made(
    target: str,
    settings: Settings,
    database: Database,
    *,
    read_only: bool = False,
    passwords: Passwords | None = None,
) -> tuple[Anything, Mapping[str, LiveSecret]]:
    chosen = settings.connector_of(target)
    if chosen.connector is None:
        raise chosen.fault or ConnectorUnusable
    section: ConnectorSettings = getattr(settings, target)
    secrets = {name: LiveSecret(section, name) for name in section.secrets() if section.has_secret(name)}
    context = ConnectorContext(
        name=target,
        settings=section,
        secret=lambda name: secrets[name] if name in secrets else LiveSecret(section, name),
        read_only=read_only or section.mode == "observe",
        connections_max=settings.engine.slots + 1,  # the probe has one too
        adopted=lambda numbers: adopted_refs(database, target, numbers),
        begin_erasing=lambda shown: _begin_erasing(settings, database, target, shown),
        passwords=passwords or _known_passwords(chosen.connector, target, database),
        site=site_facts(settings, database),
    )
    try:
        return chosen.connector(context), secrets
    except SesameError:
        raise  # its message says what is wrong
    except Exception as error:  # foreign code: the other targets continue
        raise ConnectorUnusable(f"the connector {target} cannot be made: {fault(error)}") from error


def site_facts(settings: Settings, database: Database) -> SiteFacts:
    """The site's facts for connectors."""
    return SiteFacts(
        database=database,
        principal_scope=settings.registry.principal_scope,
        mail_quota_bytes=settings.directory.mail_quota_bytes,
        mail_target=target_in_role(settings, MAIL_ROLE),
        is_managed=ManagedCohorts(database, settings.registry.cohorts),
        pseudonym=lambda number: "" if (key := _privacy(settings)) is None else key.pseudonym(number),
        letterhead=settings.letterhead,
        registrar=Registrar(settings.pegase) if settings.pegase.is_set else None,
        esis=lambda numbers: _esis(database, numbers),
    )


def _esis(database: Database, numbers: Sequence[str]) -> dict[str, str]:
    """The students' ESIs, from the registry's own table."""
    with database.read() as connection:
        return esi.esis_of(connection, numbers)


class Registrar:
    """Pégase, as the feed signs in there; see `RegistrarApi`."""

    def __init__(self, settings: PegaseSettings) -> None:
        self.establishments = tuple(settings.periods)
        self._settings = settings
        self._lock = threading.Lock()
        self._token = ""

    def address(self, module: str) -> str:
        """See `RegistrarApi`."""
        return self._settings.instance().address(module)

    def token(self, *, refused: str = "") -> str:
        """See `RegistrarApi`."""
        with self._lock:
            if self._token == refused:
                self._token = self._new_token()
            return self._token

    def _new_token(self) -> str:
        try:
            with closing(pegase_client.PegaseClient(self._settings.instance)) as client:
                return client.token()
        except pegase_client.PegaseDown as error:
            raise TargetDown(str(error), unknown=False) from error
        except SesameError as error:
            raise Misconfigured(str(error), remedy=error.remedy) from error


def _privacy(settings: Settings) -> privacy_key.PrivacyKey | None:
    """The site's privacy key as it is now; None: there is none yet."""
    path = settings.privacy_key_file
    return privacy_key.PrivacyKey.read(path) if path.exists() else None


def _begin_erasing(
    settings: Settings, database: Database, target: str, shown: Mapping[str, str]
) -> dict[str, str]:
    """See `ConnectorContext.begin_erasing`. What was adopted may show another number than the student's."""
    if not shown or (key := _privacy(settings)) is None:
        return {}
    with database.write() as connection:
        whose = {**shown, **adoptions.owners(connection, target, shown)}
        pseudonyms = {ref: (whose[ref], key.pseudonym(whose[ref])) for ref in shown}
        adoptions.begin_erasing(connection, database, target, pseudonyms)
    return {ref: pseudonym for ref, (_, pseudonym) in pseudonyms.items()}


def adopted_refs(database: Database, target: str, numbers: Sequence[str]) -> dict[str, AdoptedRef]:
    """References of the objects that were adopted for these students, for a connector."""
    with database.read() as connection:
        found = adoptions.objects_of(connection, target, numbers)
    return {number: AdoptedRef(*named.split(NUMBER_AFTER, 1)) for number, named in found.items()}


def _passwords(target: str, settings: Settings, vault: Callable[[], Vault]) -> Passwords | None:
    """The passwords that the vault keeps for a target; None: it is given none."""
    if target in settings.plain_passwords:
        return SealedPasswords(vault(), target)
    chosen = settings.connector_of(target).connector
    if chosen is None or chosen.credential is None or issubclass(chosen.section, PlainPasswordSettings):
        return None
    return vault()


def _known_passwords(connector: type[Anything], target: str, database: Database) -> Passwords:
    """The passwords that a target was given, for callers that give it none."""
    if connector.credential is None:
        return NoPasswords()
    return KnownPasswords(database, target if issubclass(connector.section, PlainPasswordSettings) else None)
