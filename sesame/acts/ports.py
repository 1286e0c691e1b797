"""Ports: what operations need of a site; each act names its own.

The application implements them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from consumers.registry import NAME as REGISTRY
from consumers.webhooks import sender_of
from schemas.language import gettext
from sesame.acts.acts import UnknownTarget

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from consumers.directory.connector import DirectoryConnector
    from consumers.kit.connector import Anything
    from consumers.registry.erasure.privacy_key import PrivacyKey
    from consumers.registry.handler import Registry
    from pipeline.db.database import Database
    from pipeline.eventlog.port import EventLog, Producer
    from pipeline.runner import Effects
    from pipeline.target import Handler
    from pipeline.vault import Vault
    from producers.activation.desk_letters import DeskLetters
    from sesame.login.probe import LoginProbe
    from sesame.settings import Settings


class HasSettings(Protocol):
    """The site's settings."""

    @property
    def settings(self) -> Settings:
        """Of the whole site."""


def check_target(site: HasSettings, target: str) -> None:
    """Check that the settings name this target.

    Raises:
        UnknownTarget: they do not.
    """
    targets = site.settings.targets
    if target not in targets:
        names = ", ".join(targets)
        raise UnknownTarget(gettext("{target!r} is none of {names}", target=target, names=names))


def target_in_role(settings: Settings, role: str) -> str:
    """The target whose connector has this role; empty: there is none."""
    found = {target: settings.connector_of(target).connector for target in settings.targets}
    return next((target for target, each in found.items() if each is not None and each.role == role), "")


def works_without_target(site: HasSettings, consumer: str) -> bool:
    """Whether this consumer has no target to compare: the registry, or a receiver's."""
    return consumer == REGISTRY or consumer in map(sender_of, site.settings.webhooks.receivers)


class HasDirectory(Protocol):
    """The directory."""

    def directory(self) -> AbstractContextManager[DirectoryConnector]:
        """The directory's read-only connector, newly connected; disconnect at the end."""


class HasConnectors(Protocol):
    """The connectors to targets."""

    def connector(self, target: str) -> AbstractContextManager[Anything]:
        """A read-only connector that is found by entry point."""


class Targets(HasDirectory, HasConnectors, HasSettings, Protocol):
    """The targets' servers: a new connection per call, closed at the end."""


class Stored(Protocol):
    """The store."""

    @property
    def database(self) -> Database:
        """Its database."""


class Configured(Stored, HasSettings, Protocol):
    """The store, and the site's settings."""


class Following(Configured, Protocol):
    """A site where some targets follow others."""

    @property
    def follows(self) -> Mapping[str, str]:
        """Which target follows which."""


class AccessLinks(Protocol):
    """Ways to the students' pages, for the support desk."""

    @property
    def desk_letters(self) -> DeskLetters:
        """Letters with a code."""

    def access_link(self, student_number: str) -> str:
        """Make a link by which this student's page may be viewed once."""


class Paged(Stored, Protocol):
    """The store and the students' pages."""

    def portal(self) -> AccessLinks:
        """The pages."""


class Lettering(HasDirectory, Paged, HasSettings, Protocol):
    """The pages, and who has a role at the console."""


class Publishing(Stored, Protocol):
    """The store and the log."""

    @property
    def producer(self) -> Producer:
        """Appends to the log."""


class Logged(Stored, Protocol):
    """The store, and the log for reading."""

    @property
    def log(self) -> EventLog:
        """The log."""


class Recognising(Stored, Protocol):
    """The store, and the key that recognises erased persons."""

    @property
    def privacy_if_any(self) -> PrivacyKey | None:
        """The privacy key; None if no person was ever erased."""


class Shutting(Recognising, Publishing, Protocol):
    """The store, the log, and the students' pages' sessions."""

    def end_sessions(self, connection: Connection, student_number: str, now: float) -> None:
        """End this student's sessions of the pages."""


class Directories(Stored, HasDirectory, Protocol):
    """The store and the directory."""


class Registering(Configured, Recognising, Publishing, Protocol):
    """The store, the log, the site's settings, and how erased persons are recognised."""


class Sealing(Registering, Protocol):
    """The same, and the vault."""

    @property
    def vault(self) -> Vault:
        """The vault."""


class Store(Stored, Protocol):
    """The store, and its identity."""

    @property
    def notes_file(self) -> Path:
        """Where this machine notes what it has seen of the store."""

    @property
    def store_file(self) -> Path | None:
        """The embedded store's file; None: it is a server's."""


class Handlers(Following, Store, Protocol):
    """Handlers that compare students with targets."""

    def handler(self, target: str) -> Handler:
        """A handler connected to the target's server; the caller closes it."""


class Unlocking(HasConnectors, Configured, Store, Protocol):
    """The store, and connectors that also write."""

    def connector(self, target: str, *, writes: bool = False) -> AbstractContextManager[Anything]:
        """A connector that is found by entry point; read-only unless it `writes`."""


class Replaying(Handlers, Publishing, Protocol):
    """Handlers and the log."""


class Reconciling(HasConnectors, Replaying, Protocol):
    """Comparison and repair of whole targets."""


class Provided(Handlers, Protocol):
    """Effects that carry out a student's turn at a target."""

    def effects(self, target: str, handler: Handler) -> Effects:
        """The target's effects, with their own leases."""


class Adopting(Targets, Configured, Publishing, Protocol):
    """The targets, the store and the log."""


class Diagnosable(Targets, Following, Protocol):
    """What a diagnosis needs of the site."""

    def cas_probe(self) -> LoginProbe | None:
        """The login probe; None: there is no CAS."""


class Restored(Targets, Configured, Store, Recognising, Publishing, Protocol):
    """A site whose store was restored from a backup."""

    @property
    def registry(self) -> Registry:
        """Places holds, and mints."""
