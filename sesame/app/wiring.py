"""The one place where adapters meet ports. Nothing else makes an adapter or reads the settings for one."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from consumers.directory import NAME as DIRECTORY
from pipeline.db import migrate
from pipeline.db.database import Database
from pipeline.db.embedded import processes_with
from schemas.language import gettext
from sesame.acts.ports import target_in_role
from sesame.app import cas
from sesame.app.lazy import lazily
from sesame.settings import LiveSecret, Settings, folders

with lazily():  # a command that looks wants little of it
    from consumers.directory import connector as directory_connector
    from consumers.kit import connector as kit_connector
    from consumers.propagation import handler as propagation_handler
    from consumers.propagation import rows as propagation_rows
    from consumers.registry import handler as registry_handler
    from consumers.registry import people
    from consumers.registry.erasure import erased_numbers, erasures, privacy_key
    from consumers.webhooks import handler as webhooks_handler
    from consumers.webhooks import sender as webhooks_sender
    from pipeline import facts, runner
    from pipeline import outbox as pipeline_outbox
    from pipeline import vault as pipeline_vault
    from pipeline.engine import bell, core, limits
    from pipeline.eventlog import sqlite as embedded_log
    from producers.activation import notices, proofs
    from sesame.app import end_notices, event_log, group_members, targets
    from sesame.app.observability import metrics as observability_metrics
    from sesame.app.observability import tracing
    from sesame.operations.access import lifecycle
    from sesame.operations.keeping.backup import acts as backup_acts
    from sesame.operations.people import support
    from sesame.operations.privacy import receipts
    from sesame.web.students import portal_context

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData
    from starlette.types import ASGIApp

    from consumers.directory.trial import Trial
    from pipeline.eventlog.port import Consumer, EventLog, Producer
    from pipeline.target import Handler
    from sesame.login.probe import LoginProbe

REGISTRY, PROPAGATION, WEBHOOKS = "registry", "propagation", "webhooks"
"""The consumers that touch the store alone; the others are named as their targets."""

_COLLECTOR = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class ProcessIdentity:
    """One life of one process, on machine `host`; `owner`: its name on leases, never the same twice."""

    host: str
    owner: str

    @classmethod
    def begin(cls) -> ProcessIdentity:
        """The life of this process, from now on."""
        host = socket.gethostname()[:30]
        return cls(host=host, owner=f"{host}:{os.getpid()}:{secrets.token_hex(4)}")


class Application:
    """Everything that the settings describe, connected when it is first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.life = ProcessIdentity.begin()

    # --- what is shared ---------------------------------------------------------------------------

    @cached_property
    def database(self) -> Database:
        """The store, in this version's schema; an embedded one is created or migrated now.

        Raises:
            StoreUnavailable, StoreNotMigrated, StoreFromTheFuture: it cannot be used.
        """
        database = self.database_as_it_is
        if database.is_sqlite:
            migrate.upgrade(database, at_work=self.with_store_open)
        else:
            migrate.check(database)
        return database

    def with_store_open(self) -> Iterable[str]:
        """Return the other processes with the embedded store open, as texts. Those that this user may see."""
        path = self.settings.store_file
        return () if path is None else processes_with(path)

    @cached_property
    def database_as_it_is(self) -> Database:
        """The store, in whatever form it is: for migrations and checks."""
        if not self.settings.store.has_secret("url"):
            folders.make(self.settings.data_dir)
        store = self.settings.store
        password = LiveSecret(store, "password") if store.has_secret("password") else None
        return Database(self.settings.store_url.get_secret_value(), password=password)

    @cached_property
    def log(self) -> EventLog:
        """The event log.

        Raises:
            LogError: it cannot be used, or has other partitions than the settings say.
            SettingsError: a secret is missing.
        """
        return event_log.open_log(self.settings, self.erased_numbers)

    @cached_property
    def erased_numbers(self) -> erased_numbers.ErasedNumbers:
        """The numbers of erased persons: their records and bells are dropped."""
        return erased_numbers.ErasedNumbers(lambda: self.database, lambda: self.privacy_if_any)

    @property
    def notes_file(self) -> Path:
        """The file in which this machine notes the life of the store that it has seen."""
        return self.settings.data_dir / "store.life"

    @property
    def store_file(self) -> Path | None:
        """The embedded store's file; None: it is a server's."""
        return self.settings.store_file

    def prune_log(self) -> None:
        """Prune the embedded log (Kafka's servers do it themselves). Raises LogUnavailable: try again."""
        if isinstance(self.log, embedded_log.SqliteEventLog):
            self.log.prune(utc_now())

    @cached_property
    def producer(self) -> Producer:
        """Appends to the log."""
        made = self.log.producer()
        return made if self.traces is None else self.traces.producer(made)

    @cached_property
    def traces(self) -> tracing.Traces | None:
        """The recorder of spans. None: OpenTelemetry's variables do not say where to."""
        if not any(os.environ.get(name) for name in _COLLECTOR):
            return None
        return tracing.Traces.exported(self.life.owner)

    def traced(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application so that its requests have spans, if any are sent."""
        return app if self.traces is None else self.traces.around(app)

    @staticmethod
    def end_sessions(connection: Connection, student_number: str, now: float) -> None:
        """End this student's sessions of the pages, in whatever browser."""
        portal_context.end_sessions(connection, student_number, now)

    @cached_property
    def vault(self) -> pipeline_vault.Vault:
        """The vault; raises `VaultKeyError` if its key cannot be used."""
        return pipeline_vault.Vault(
            self.database,
            pipeline_vault.read_keys(self.settings.vault_key_file),
            clock=time.time,
            plain_for=self.settings.plain_passwords,
            keep_last=self.settings.keeps_last_hash,
        )

    @cached_property
    def privacy(self) -> privacy_key.PrivacyKey:
        """The site's privacy key. Raises `PrivacyKeyError`, also if another one was used to erase."""
        key = privacy_key.PrivacyKey.read(self.settings.privacy_key_file)
        with self.database.read() as connection:
            if erasures.of_another_key(connection, receipts.site_key(key).fingerprint):
                raise privacy_key.PrivacyKeyError(
                    gettext("{path} is not the key that was used before", path=self.settings.privacy_key_file)
                )
        return key

    @property
    def privacy_if_any(self) -> privacy_key.PrivacyKey | None:
        """The privacy key; None: there is none, and no person was ever erased. Raises as `privacy`.

        Without the key the names of erased persons would be given again.
        """
        if not self.settings.privacy_key_file.exists():
            with self.database.read() as connection:
                if not erasures.of_another_key(connection, None):
                    return None
        return self.privacy

    @property
    def tables(self) -> MetaData:
        """Every room's tables."""
        from sesame.app.tables import metadata

        return metadata

    @property
    def audit_folder(self) -> Path:
        """The folder of the audit's archive."""
        return self.settings.data_dir / "audit"

    def erase_in_log(self, student_number: str, pseudonym: str, before: float) -> int | None:
        """Replace a number by a pseudonym in the log's older records.

        Older than `before` (epoch seconds). Returns in how many; None: this log cannot. Raises
        LogUnavailable.
        """
        log = self.log
        if not isinstance(log, embedded_log.SqliteEventLog):
            return None
        return log.erase(student_number, pseudonym, before=before)

    def rewrite_files(self) -> bool:
        """Rewrite the embedded store and log, and the persons' keys, without removed data.

        Returns False if the store is a server's.

        Raises:
            StoreUnavailable, LogUnavailable, PersonKeysUnusable: do it again.
        """
        backup_acts.person_keys(self).rewrite()
        self.database.rewrite()
        if isinstance(self.log, embedded_log.SqliteEventLog):
            self.log.rewrite()
        return self.database.is_sqlite

    def portal(self, metrics: observability_metrics.Metrics | None = None) -> portal_context.PortalContext:
        """The context of the students' pages: database and vault keys, and no log.

        Raises:
            VaultKeyError: the vault's key cannot be used.
            StoreUnavailable, StoreNotMigrated, StoreFromTheFuture: as `database`.
        """
        client, logins = cas.client(self.settings), cas.logins(self.settings, self.database)
        log = structlog.get_logger()
        metrics = metrics or observability_metrics.Metrics()

        def letter(how: str) -> None:
            metrics.portal_messages.labels(how).inc()
            log.info("letter", outcome=how)

        counted = portal_context.Counted(
            letter=letter,
            password=lambda how: metrics.portal_passwords.labels(how).inc(),
            refused=lambda what: metrics.portal_refusals.labels(what).inc(),
            trouble=lambda what: log.warning("portal_trouble", reason=what),
        )
        return portal_context.PortalContext(
            self.settings,
            self.database,
            self.vault,
            pipeline_vault.read_keys(self.settings.vault_key_file),
            follows=self.follows,
            cas=portal_context.Cas(client, logins) if client is not None and logins is not None else None,
            support=support.Support(self),
            counted=counted,
        )

    @cached_property
    def outbox(self) -> pipeline_outbox.OutboxRelay:
        """Sends what the database has to say."""
        return pipeline_outbox.OutboxRelay(self.database, self.producer)

    # --- consumers --------------------------------------------------------------------------------

    @cached_property
    def registry(self) -> registry_handler.Registry:
        """The registry's handler of facts."""
        return registry_handler.Registry(
            self.database,
            self.vault,
            self.settings.registry,
            propagated=propagation_rows,
            rules=self.settings.lifecycle,
            services=lifecycle.services_of(self),
            notices=self._end_notices(),
            on_new_address=end_notices.void_links,
            privacy=self.privacy_if_any,
            esi=self.settings.esi_rules,
        )

    def _end_notices(self) -> end_notices.MailedEndNotices | None:
        """Warns students that access ends; None: there are no pages, so no mail is sent."""
        if not self.settings.has_portal:
            return None
        digests = proofs.Digests.of(
            pipeline_vault.derive_keys(pipeline_vault.read_keys(self.settings.vault_key_file), "proofs")
        )
        return end_notices.MailedEndNotices(
            self.settings, notices.Notices(people.People(self.database), self.vault), digests
        )

    def propagation(
        self, on_said: Callable[[propagation_handler.Said], None] = lambda _event: None
    ) -> propagation_handler.Propagation:
        """The propagation consumer's handler of facts."""
        return propagation_handler.Propagation(
            self.database,
            targets=self.settings.targets,
            follows=self.follows,
            objectives=self.settings.propagation,
            on_said=on_said,
            forgotten=self.erased_numbers.forgotten,
        )

    @property
    def webhooks(self) -> webhooks_handler.Webhooks:
        """The handler of events for receivers."""
        receivers = self.settings.webhooks.receivers
        types = {name: each.types for name, each in receivers.items()}
        return webhooks_handler.Webhooks(self.database, types, forgotten=self.erased_numbers.forgotten)

    def senders(self, observer: webhooks_sender.SenderObserver) -> list[webhooks_sender.Sender]:
        """The senders of events, one for each receiver."""
        settings, issuer = self.settings.webhooks, self.settings.console.public_url
        return [
            webhooks_sender.Sender(
                *(name, receiver, self.database, observer), url=receiver.url, issuer=issuer
            )
            for name, receiver in settings.receivers.items()
            if receiver.url is not None
        ]

    @property
    def follows(self) -> dict[str, str]:
        """The leaders of configured targets that follow one, or a role. One only observed follows none."""
        wanted, observed = self.settings.targets, self.settings.observed
        found = {target: self.settings.connector_of(target).connector for target in wanted}
        leaders = {
            target: target_in_role(self.settings, each.follows) or each.follows
            for target, each in found.items()
            if each is not None and each.follows is not None
        }
        return {
            target: leader
            for target, leader in leaders.items()
            if leader in wanted and target not in observed
        }

    def handler(self, target: str) -> Handler:
        """The target's handler, connected to its server. Raises SettingsError without a secret."""
        return targets.handler(target, self.settings, self.database, lambda: self.vault, self.traces)

    def cas_probe(self) -> LoginProbe | None:
        """The login probe; None: the settings name no CAS server. Raises as `cas.probe`."""
        return cas.probe(self.settings, self._try_login)

    def login_probe(self, login: str, password: Callable[[], str]) -> LoginProbe | None:
        """Logs this account in through CAS; None: the settings name no CAS server."""
        return cas.probe_of(self.settings, self._try_login, login, password)

    def _try_login(self, login: str, password: str) -> Trial:
        with self.directory() as directory:
            return directory.trial(login, password)

    @contextmanager
    def directory(self) -> Iterator[directory_connector.DirectoryConnector]:
        """The directory's connector, to read without the store; disconnected at the end."""
        section = self.settings.directory
        secret = LiveSecret(section, "bind_password")
        made = directory_connector.DirectoryConnector(
            kit_connector.ConnectorContext(DIRECTORY, section, lambda _name: secret, read_only=True)
        )
        try:
            yield made
        finally:
            made.disconnect()

    @contextmanager
    def connector(self, target: str, *, writes: bool = False) -> Iterator[kit_connector.Anything]:
        """A connector by entry point, disconnected at the end. Raises as `targets.connector`."""
        made = targets.connector(target, self.settings, self.database, read_only=not writes)
        try:
            yield made
        finally:
            made.disconnect()

    @property
    def log_has_one_owner(self) -> bool:
        """Whether a consumer group has one active member, however many processes run."""
        return self.settings.log.kind == "sqlite"

    @cached_property
    def members(self) -> group_members.GroupMembers:
        """The names of this process's members of consumer groups."""
        return group_members.GroupMembers(self.settings.data_dir / "members", self.life.host)

    def fact_loop(
        self, handler: facts.FactHandler, observer: facts.FactObserver, worker: int = 1
    ) -> facts.FactLoop:
        """The loop that feeds a handler of facts, in this process's worker of that number."""
        return facts.FactLoop(
            handler=handler if self.traces is None else self.traces.facts(handler),
            consumer=self._consumer(handler.name, handler.topics, worker),
            database=self.database,
            observer=observer,
            after=self.outbox.ring,
            clock=time.monotonic,
        )

    def effects(self, target: str, handler: Handler) -> runner.Effects:
        """Carries out this target's turns in order; each instance has its leases."""
        engine = self.settings.engine
        # How long the target may continue with a call that was given up; unknown of an unusable connector.
        execution_s_max: float = getattr(getattr(self.settings, target), "execution_s_max", 0.0)
        return runner.Effects(
            target=target,
            owner=f"{self.life.owner}:{secrets.token_hex(2)}",  # a worker that is begun again is another one
            database=self.database,
            producer=self.producer,
            backoff=engine.backoff(),
            lease_s=runner.WAIT_S_MAX + handler.call_s_max + execution_s_max + limits.LEASE_MARGIN_S,
            recheck_s=engine.recheck_s,
            follows=self.follows.get(target),
            forgotten=self.erased_numbers.forgotten,
        )

    def worker(self, target: str, observer: runner.Observer, number: int = 1) -> runner.TargetWorker:
        """The loop that works for a target, in this process's worker of that number."""
        handler, engine, follows = self.handler(target), self.settings.engine, self.follows.get(target)
        try:
            consumer = self._consumer(target, bell.topics_for(follows), number)
        except BaseException:
            handler.close()
            raise
        return runner.TargetWorker(
            handler=handler,
            engine=core.Engine(engine.limits(batch_size=handler.batch_size)),
            effects=self.effects(target, handler),
            consumer=consumer,
            database=self.database,
            observer=observer if self.traces is None else self.traces.observer(observer),
            follows=follows,
            grace_s=engine.shutdown_s_max,
            partitions=self.settings.log.partitions,
        )

    def _consumer(self, group: str, topics: tuple[str, ...], worker: int) -> Consumer:
        return self.log.consumer(group, topics, member=self.members.name(group, worker))

    def close(self) -> None:
        """Give back what was connected."""
        for name, value in list(self.__dict__.items()):
            if name in ("producer", "log", "members", "database_as_it_is", "traces") and value is not None:
                value.close()


def build(settings: Settings) -> Application:
    """The application that these settings describe. Nothing is connected yet."""
    return Application(settings)
