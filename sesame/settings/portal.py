"""The students' pages, and the mail server that their messages go by."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from pipeline.settings import ADVANCED, CA_FILE, Address, HttpsUrl, Section, TargetName, is_loopback
from schemas.language import Language, gettext
from sesame.settings.served import Port, PublicUrl, ServedSettings

PORTAL: Final = "ent"
"""Among the links: the portal that the login opens (environnement numérique de travail)."""

PORTAL_TITLE: Final[Mapping[Language, str]] = {
    "fr": "L'espace numérique de travail",
    "en": "The student portal",
}
COLOR: Final = "#1f3a8a"


class PortalSettings(ServedSettings):
    """The students' pages, which `sesame web` serves."""

    place: ClassVar[str] = "portal"

    public_url: PublicUrl = "https://compte.univ-exemple.fr"
    port: Port = 8080
    institution: str = Field(
        "Université d'exemple",
        min_length=1,
        max_length=100,
        description="The university's name on the pages and in the messages.",
    )
    color: Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$", to_lower=True)] = Field(
        COLOR,
        description="The university's colour, `#RRGGBB`: buttons, links and steps. It must be legible on "
        "white (WCAG 2.2, 1.4.3); the dark pages have a lighter shade of it.",
    )
    logo_file: Path | None = Field(
        None,
        description="The university's logo beside its name: SVG without scripts, or PNG, of 32 KiB at most. "
        "Without it: the first letter of the name.",
    )
    links: dict[TargetName, HttpsUrl] = Field(
        {},
        description="Where each service is, by target: the buttons that a student finds once it is ready. "
        "`ent` is what the login opens. Services without an address have no button.",
    )
    registrar_office: str = Field(
        "le service de la scolarité de votre composante",
        min_length=1,
        max_length=300,
        description="Whom a student turns to whose personal address is lost, in French: office, place, "
        "hours.",
    )
    registrar_office_en: str = Field(
        "the registrar's office of your faculty",
        min_length=1,
        max_length=300,
        description="The same in English.",
        json_schema_extra=ADVANCED,
    )
    privacy_contact: Address = Field(
        "dpo@univ-exemple.fr",
        description="The data protection officer's address, in the privacy notice (GDPR, article 13).",
    )
    accessibility: dict[Literal["partial", "full"], date] = Field(
        default_factory=dict,
        max_length=1,
        description="What an audit against RGAA 4.1 has found, and its day, as `{partial = 2026-10-05}`; "
        "every page says it (decree 2019-768). Empty: not conforming, or not audited.",
        json_schema_extra=ADVANCED,
    )
    sender: Address = Field(
        "ne-pas-repondre@univ-exemple.fr", description="Sender of the messages to personal addresses."
    )
    support: Address = Field(
        "assistance@univ-exemple.fr", description="The address that pages and messages give for help."
    )
    charter: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,32}$")] = Field(
        "2026-09", description="Edition of the charter that students accept; kept with each acceptance."
    )
    charter_file: Path | None = Field(
        None,
        description="The charter in French: text, paragraphs between empty lines; `NAME.en.txt` beside "
        "`NAME.txt` is the English one. Without it: a short one.",
    )
    timezone: str = Field(
        "Europe/Paris", description="Time zone of the times that students read.", json_schema_extra=ADVANCED
    )
    address_burst: int = Field(
        60,
        ge=1,
        le=100_000,
        description="Forms that one address may send at once; then one a second. Addresses of "
        "IPv6 count by /64. Think of the lecture hall behind one address.",
        json_schema_extra=ADVANCED,
    )
    shared_networks: tuple[str, ...] = Field(
        (),
        description="Networks that many students share (the campus, its Wi-Fi): each address there may send "
        "fifty times as many forms, and keep as many more pages live.",
    )
    publish_figures: bool = Field(
        False,
        description="Whether everybody may read at /metrics/propagation.json how fast accounts are made: "
        "quantiles per target and cohort over the last day, without persons.",
        json_schema_extra=ADVANCED,
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="TCP port on `http.host` where `sesame web` shows operators /metrics, /livez and "
        "/readyz, without authentication; 0 takes any free one. Unset: nowhere. Not `http.port`.",
        json_schema_extra=ADVANCED,
    )

    @property
    def charter_en_file(self) -> Path | None:
        """The charter in English, in the folder of the French one; None: there is none."""
        path = self.charter_file
        english = None if path is None else path.with_suffix(f".en{path.suffix}")
        return english if english is not None and english.exists() else None

    @field_validator("color")
    @classmethod
    def _legible(cls, color: str) -> str:
        if color != COLOR:  # known to be; what reads settings need not load a library of colours for it
            from sesame.settings.color import PAPER, legible

            nearest = legible(color, PAPER)
            if nearest != color:
                raise ValueError(
                    gettext(
                        "{color} is too pale to be read on white; the nearest that can be is {nearest}",
                        color=color,
                        nearest=nearest,
                    )
                )
        return color

    @field_validator("links")
    @classmethod
    def _encrypted(cls, links: dict[TargetName, str]) -> dict[TargetName, str]:
        for name, url in links.items():
            if not url.startswith("https://") and not is_loopback(urlsplit(url).hostname or ""):
                raise ValueError(
                    gettext(
                        "{name}: {url} must begin with https://: students log in there", name=name, url=url
                    )
                )
        return links

    @field_validator("timezone")
    @classmethod
    def _a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, ZoneInfoNotFoundError) as error:
            raise ValueError(
                gettext("{name!r} is no time zone of this machine, like Europe/Paris", name=name)
            ) from error
        return name


class SmtpSettings(Section):
    """The mail server that messages to personal addresses go by."""

    place: ClassVar[str] = "smtp"

    host: str = Field("127.0.0.1", min_length=1, max_length=255, description="Its host name.")
    port: int = Field(587, ge=1, le=65_535, description="Its TCP port.")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        description="`starttls`: refused without; `tls`: from the first byte (port 465); `none`: clear text, "
        "on loopback only.",
    )
    ca_file: Path | None = Field(None, description=CA_FILE)
    user: str | None = Field(None, max_length=255, description="User name, if the server wants one.")
    password: SecretStr | None = None
    password_file: Path | None = Field(None, description="File that holds its password.")

    @model_validator(mode="after")
    def _clear_text_stays_here(self) -> Self:
        if self.security == "none" and not is_loopback(self.host):
            raise ValueError(
                gettext("security none is for a server on this machine: codes would travel in the clear")
            )
        return self


class SmsSettings(Section):
    """The gateway that codes to mobile numbers go by. Without `url` there are none."""

    place: ClassVar[str] = "sms"

    url: HttpsUrl | None = Field(
        None,
        description="Where the gateway takes messages: a POST of `from`, `to` and `text` in JSON, with an "
        "`Idempotency-Key`.",
    )
    token: SecretStr | None = None
    token_file: Path | None = Field(
        None, description="File that holds the token that the gateway wants (`Authorization: Bearer`)."
    )
    sender: Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9 ]{1,11}|[+]?[0-9]{3,15})$")] = Field(
        "UNIVERSITE", description="The sender that phones show: 11 letters and digits, or a number."
    )
    prefixes: tuple[Annotated[str, StringConstraints(pattern=r"^[+][1-9][0-9]{0,6}$")], ...] = Field(
        ("+336", "+337", "+262", "+590", "+594", "+596"),
        description="First digits of the numbers that codes are sent to: French mobiles, overseas included.",
        json_schema_extra=ADVANCED,
    )

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        url = self.url or "https://"
        if not url.startswith("https://") and not is_loopback(urlsplit(url).hostname or ""):
            raise ValueError(
                gettext("{url} must begin with https://: codes would travel in the clear", url=url)
            )
        return self
