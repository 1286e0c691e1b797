"""All settings as one immutable value."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, PrivateAttr, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from consumers.directory import NAME as DIRECTORY
from consumers.directory.settings import DirectorySettings
from consumers.kit.connector import Anything
from consumers.kit.registration import Choice, installed
from consumers.kit.settings import ConnectorSettings, PlainPasswordSettings
from consumers.mailbox import NAME as MAILBOX
from consumers.mailbox.settings import MailboxSettings
from consumers.moodle import NAME as MOODLE
from consumers.moodle.settings import MoodleSettings
from consumers.propagation.settings import PropagationSettings
from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.settings import EsiRules, RegistrySettings
from consumers.timetable.settings import TimetableSettings
from consumers.webhooks import NAME as WEBHOOKS
from consumers.webhooks.settings import WebhookSettings
from pipeline.engine.limits import EngineSettings
from pipeline.eventlog.settings import LogSettings
from pipeline.settings import SettingsError, TargetName, TargetSection, is_advanced
from producers.activation.hashes import HashingSettings
from producers.activation.policy import PasswordSettings
from producers.registrar.pegase.settings import PegaseSettings
from producers.registrar.settings import RegistrarSettings
from schemas.language import Language, gettext
from sesame.settings.audit import AuditSettings
from sesame.settings.console import ConsoleSettings
from sesame.settings.explain import ENV_NESTED, ENV_PREFIX
from sesame.settings.login import CasSettings
from sesame.settings.portal import PORTAL, PORTAL_TITLE, PortalSettings, SmsSettings, SmtpSettings
from sesame.settings.runtime import CanarySettings, HttpSettings, ObservabilitySettings, ReconcileSettings
from sesame.settings.storage import SQLITE, PrivacySettings, StoreSettings, VaultSettings
from sesame.settings.support import SupportSettings

if TYPE_CHECKING:
    from pipeline.letters import Letterhead


def _none_but(names: Iterable[str], known: Collection[str]) -> None:
    """Refuse a name of a target that no connector has."""
    if unknown := [name for name in names if name not in known]:
        name, near = unknown[0], difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.6)
        if name in installed():
            text = gettext("{name} is not in `targets`: add it there", name=name)
        elif near:
            text = gettext(
                "no connector has the name {name!r}; did you mean {near}?", name=name, near=near[0]
            )
        else:
            names = ", ".join(sorted(known))
            text = gettext("no connector has the name {name!r}; there are {names}", name=name, names=names)
        raise ValueError(text)


def _title(section: ConnectorSettings, connector: type[Anything]) -> Mapping[Language, str]:
    title = connector.title
    french = section.title or title["fr"]
    return {"fr": french, "en": section.title_en or section.title or title["en"]}


class Settings(BaseSettings):
    """Everything that a site may set. Made by `sesame.settings.load`, which explains what is wrong."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_NESTED,
    )

    data_dir: Path = Field(
        Path("/var/lib/sesame"),
        description="Folder of the embedded database, the embedded log and the vault's key, unless they are "
        "set by themselves. On a local disk.",
    )
    targets: tuple[TargetName, ...] = Field(
        (DIRECTORY, MAILBOX, MOODLE),
        min_length=1,
        description="The targets that are provisioned. An account is complete when all of these have it.",
    )

    language: Language | None = Field(
        None,
        description="Language of what staff read: commands, files of refused lines, cases. Unset: that of "
        "the locale (LC_ALL, LC_MESSAGES, LANG), else English.",
    )

    audit: AuditSettings = Field(default_factory=AuditSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    vault: VaultSettings = Field(default_factory=VaultSettings)
    privacy: PrivacySettings = Field(default_factory=PrivacySettings)
    registrar: RegistrarSettings = Field(default_factory=RegistrarSettings)
    pegase: PegaseSettings = Field(default_factory=PegaseSettings)
    registry: RegistrySettings = Field(default_factory=RegistrySettings)
    lifecycle: LifecycleSettings = Field(default_factory=LifecycleSettings)
    activation: HashingSettings = Field(default_factory=HashingSettings)
    password: PasswordSettings = Field(default_factory=PasswordSettings)
    portal: PortalSettings = Field(default_factory=PortalSettings)
    smtp: SmtpSettings = Field(default_factory=SmtpSettings)
    sms: SmsSettings = Field(default_factory=SmsSettings)
    console: ConsoleSettings = Field(default_factory=ConsoleSettings)
    directory: DirectorySettings = Field(default_factory=DirectorySettings)
    mailbox: MailboxSettings = Field(default_factory=MailboxSettings)
    moodle: MoodleSettings = Field(default_factory=MoodleSettings)
    cas: CasSettings = Field(default_factory=CasSettings)
    support: SupportSettings = Field(default_factory=SupportSettings)
    timetable: TimetableSettings = Field(default_factory=TimetableSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    propagation: PropagationSettings = Field(default_factory=PropagationSettings)
    webhooks: WebhookSettings = Field(default_factory=WebhookSettings)
    reconcile: ReconcileSettings = Field(default_factory=ReconcileSettings)
    canary: CanarySettings = Field(default_factory=CanarySettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    observability: ObservabilitySettings = Field(default_factory=ObservabilitySettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (the library's signature)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then what `load` read from the file. Nothing else is looked at."""
        return (env_settings, init_settings)

    _connectors: Mapping[str, Choice] = PrivateAttr({})

    def choose(self, connectors: Mapping[str, Choice]) -> None:
        """Record the connector of each section of another package."""
        self._connectors = connectors

    @property
    def connectors(self) -> Mapping[str, Choice]:
        """Connectors' classes, or why they cannot be used, by section of other packages."""
        return self._connectors

    def connector_of(self, target: str) -> Choice:
        """A target's connector, found by entry point, or why there is none."""
        return self._connectors.get(target) or Choice.of(target)

    @property
    def titles(self) -> Mapping[str, Mapping[Language, str]]:
        """Display names by target and language: of other packages' connectors, and of ours if renamed."""
        named = {name: Choice.of(name).connector for name in self.target_names() if self._renames(name)}
        return {
            name: _title(getattr(self, name), connector)
            for name, connector in {**named, **self._made}.items()
            if connector is not None
        }

    @property
    def has_portal(self) -> bool:
        """Whether the site has pages for persons, whose links its mails carry: without them it sends none."""
        return "portal" in self.model_fields_set

    @property
    def letterhead(self) -> Letterhead:
        """Of messages to students."""
        from pipeline.letters import Letterhead

        portal, links = self.portal, []
        for name, url in portal.links.items():
            connector = self.connector_of(name).connector
            if name == PORTAL:
                links.append((PORTAL_TITLE, url))
            elif connector is not None:
                links.append((_title(getattr(self, name), connector), url))
        return Letterhead(
            institution=portal.institution,
            sender=portal.sender,
            support=portal.support,
            portal_url=portal.public_url.rstrip("/"),
            color=portal.color,
            links=tuple(links),
        )

    def _renames(self, target: str) -> bool:
        section = getattr(self, target)
        return isinstance(section, ConnectorSettings) and bool(section.title or section.title_en)

    @property
    def esi_rules(self) -> EsiRules | None:
        """Which INEs an ESI may be minted from; None: the site mints no ESIs."""
        federation = self.directory.federation
        if federation is None or not federation.esi:
            return None
        return EsiRules(provisional=federation.provisional_ine)

    @property
    def roles(self) -> Mapping[str, str]:
        """The roles towards students of other packages' connectors, by target, if any."""
        return {name: each.role for name, each in self._made.items() if each.role is not None}

    @property
    def short_logins(self) -> frozenset[str]:
        """The targets where students log in with the short login, if they have one."""
        return frozenset(name for name, each in self._made.items() if each.short_login)

    @property
    def _made(self) -> Mapping[str, type[Anything]]:
        """The other packages' connectors that can be used, by target."""
        return {name: each.connector for name, each in self._connectors.items() if each.connector is not None}

    @property
    def consumers(self) -> tuple[str, ...]:
        """The consumers to run: those that touch the store alone, then the targets'."""
        told = (WEBHOOKS,) if self.webhooks.receivers else ()
        return ("registry", "propagation", *told, *self.targets)

    @property
    def observed(self) -> frozenset[str]:
        """The targets that are only observed."""
        modes = {target: getattr(getattr(self, target), "mode", "write") for target in self.targets}
        return frozenset(target for target, mode in modes.items() if mode == "observe")

    @property
    def plain_passwords(self) -> Mapping[str, float]:
        """The targets that receive plain passwords, and for how many seconds each is kept."""
        sections = {target: getattr(self, target) for target in self.targets if target not in self.observed}
        return {
            target: section.password_s_max
            for target, section in sections.items()
            if isinstance(section, PlainPasswordSettings)
        }

    @property
    def keeps_last_hash(self) -> bool:
        """Whether to keep the directory's last hash. Raises SettingsError where a server's dumps have it."""
        if self.vault.keep_last_hash and self.store_file is None:
            raise SettingsError(
                gettext("vault.keep_last_hash needs the embedded store: a server's dumps have everything"),
                remedy=gettext("Take the setting out, or keep the store in a file."),
            )
        return self.vault.keep_last_hash

    @field_validator("targets")
    @classmethod
    def _targets_known(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        _none_but(targets, cls.target_names())
        return targets

    @field_validator("lifecycle")
    @classmethod
    def _services_known(cls, lifecycle: LifecycleSettings, known: ValidationInfo) -> LifecycleSettings:
        if "registry" in known.data:
            rows = (row.populations for row in lifecycle.entitlements)
            known.data["registry"].check_populations(frozenset[str]().union(*rows))
        named = dict.fromkeys(row.target for row in lifecycle.entitlements)
        _none_but((*named, *lifecycle.data_days_of), cls.target_names())
        if DIRECTORY in named:
            what = gettext("the directory is for everybody: other targets find accounts there. Name those")
            raise ValueError(what)
        return lifecycle

    @field_validator("portal")
    @classmethod
    def _links_known(cls, portal: PortalSettings) -> PortalSettings:
        _none_but(portal.links, (PORTAL, *cls.target_names()))
        return portal

    @classmethod
    def target_names(cls) -> tuple[str, ...]:
        """Names that `targets` may hold: sections of targets, usable connectors or not."""
        return tuple(
            name
            for name, field in cls.model_fields.items()
            if field.annotation == dict[str, Any]
            or (isinstance(field.annotation, type) and issubclass(field.annotation, TargetSection))
        )

    @property
    def store_url(self) -> SecretStr:
        """The database's URL. Raises SettingsError if it, or the file that holds it, cannot be used."""
        return self.store.address(self.data_dir / "sesame.db")

    @property
    def store_file(self) -> Path | None:
        """The database's file; None if it is a server's, or in memory. Raises as `store_url`."""
        url = self.store_url.get_secret_value()
        return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None

    @property
    def log_path(self) -> Path:
        """The embedded log's file."""
        return self.data_dir / "events.db"

    @property
    def vault_key_file(self) -> Path:
        """The file of the vault's keys."""
        return self.vault.key_file or self.data_dir / "vault.key"

    @property
    def key_copies(self) -> Path:
        """The folder of copies of the persons' keys."""
        return self.store.keys_to or self.data_dir / "person-keys"

    @property
    def privacy_key_file(self) -> Path:
        """The file of the privacy key."""
        return self.data_dir / "privacy.key"

    @classmethod
    def advanced(cls) -> frozenset[str]:
        """The dotted names of the settings that few sites change."""
        return frozenset(
            f"{name}.{key}"
            for name, section in cls.sections().items()
            for key, field in section.model_fields.items()
            if is_advanced(field)
        )

    @classmethod
    def sections(cls) -> dict[str, type[BaseModel]]:
        """The sections, by name, in the order in which they are documented."""
        return {
            name: field.annotation
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        }
