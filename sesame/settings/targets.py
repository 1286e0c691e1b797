"""The targets: where each one is, how Sésame identifies itself there, and how much it may ask at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from sesame.settings.base import Section

CA_FILE = "Certificates (PEM) that the server's one is verified with. Without it: those of the system."

HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+[^\s?#]*$", max_length=2048)]
LdapUri = Annotated[str, StringConstraints(pattern=r"^ldaps?://[^\s/?#]+/?$", max_length=512)]
Dn = Annotated[str, StringConstraints(pattern=r"^[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*$", max_length=512)]
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s<>]+@[^@\s<>]+$", max_length=254)]
Quota = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,6}[MG]$")]
LOOPBACK = ("http://127.", "http://localhost:", "http://localhost/", "http://[::1]")


class DirectorySettings(Section):
    """The directory: OpenLDAP, with the SupAnn and eduPerson schemas and Sésame's own."""

    place: ClassVar[str] = "directory"

    uri: LdapUri = Field(
        "ldap://127.0.0.1:389", description="`ldap://HOST:PORT` (with StartTLS) or `ldaps://…`."
    )
    ca_file: Path | None = Field(None, description=CA_FILE)
    bind_dn: Dn = Field(
        "cn=provisioner,ou=system,dc=univ-exemple,dc=fr", description="Sésame's own account in the directory."
    )
    bind_password: SecretStr | None = Field(None, description="Its password. Better given by a file.")
    bind_password_file: Path | None = Field(None, description="File that holds `directory.bind_password`.")
    people_dn: Dn = Field(
        "ou=people,dc=univ-exemple,dc=fr", description="The branch of the people's entries."
    )
    groups_dn: Dn = Field("ou=groups,dc=univ-exemple,dc=fr", description="The branch of the groups.")
    probe_dn: Dn = Field(
        "uid=sesame-probe,ou=system,dc=univ-exemple,dc=fr",
        description="The entry that the probe writes and reads; nobody's.",
    )
    establishment_uai: Annotated[str, StringConstraints(pattern=r"^[0-9]{7}[A-Z]$")] = Field(
        "0751717J", description="The establishment's UAI code, for the SupAnn attributes."
    )
    mail_quota: Quota = Field("1G", description="Quota of a mailbox, e.g. `500M` or `1G`.")
    connect_timeout_s: int = Field(5, ge=1, le=120, description="Longest wait for a connection.")
    receive_timeout_s: int = Field(10, ge=1, le=600, description="Longest wait for an answer.")
    batch_size: int = Field(10, ge=1, le=500, description="Students in one call.")


class MailboxSettings(Section):
    """The mail server: Dovecot, by doveadm over HTTP and LMTP."""

    place: ClassVar[str] = "mailbox"

    doveadm_url: HttpsUrl = Field(
        "https://127.0.0.1:8443/doveadm/v1", description="doveadm's HTTP address; `http://` on loopback only."
    )
    ca_file: Path | None = Field(None, description=CA_FILE)
    api_key: SecretStr | None = Field(None, description="doveadm's API key. Better given by a file.")
    api_key_file: Path | None = Field(None, description="File that holds `mailbox.api_key`.")
    lmtp_host: str = Field("127.0.0.1", min_length=1, max_length=255, description="Host of the LMTP service.")
    lmtp_port: int = Field(24, ge=1, le=65_535, description="TCP port of the LMTP service.")
    probe_user: Address = Field(
        "sesame-probe@etu.univ-exemple.fr",
        description="The service account that the probe looks up; nobody's.",
    )
    sender: Address = Field("ne-pas-repondre@univ-exemple.fr", description="Sender of the welcome message.")
    folders: tuple[Annotated[str, StringConstraints(min_length=1, max_length=100)], ...] = Field(
        ("Scolarite",), description="Folders that every mailbox has besides the inbox, subscribed."
    )
    portal_url: HttpsUrl = Field(
        "https://ent.univ-exemple.fr/", description="The page that the welcome message sends students to."
    )
    support: Address = Field(
        "assistance@univ-exemple.fr", description="The address that the welcome message gives for help."
    )
    timeout_s: float = Field(
        20.0,
        ge=10,
        le=600,
        description="Longest wait for an answer; with its directory down, Dovecot takes about 6 s to say so.",
    )
    batch_size: int = Field(10, ge=1, le=100, description="Students in one call.")

    @model_validator(mode="after")
    def _key_under_tls(self) -> Self:
        _tls("doveadm_url", self.doveadm_url)
        return self


class MoodleSettings(Section):
    """Moodle, by its web services."""

    place: ClassVar[str] = "moodle"

    base_url: HttpsUrl = Field(
        "https://moodle.univ-exemple.fr", description="The site's address; `http://` on loopback only."
    )
    ca_file: Path | None = Field(None, description=CA_FILE)
    token: SecretStr | None = Field(None, description="The service user's token. Better given by a file.")
    token_file: Path | None = Field(None, description="File that holds `moodle.token`.")
    max_input_vars: int = Field(
        1000,
        ge=50,
        le=100_000,
        description="The site's PHP `max_input_vars`. Never set more than it has: PHP drops the rest unsaid.",
    )
    timeout_s: float = Field(30.0, ge=1, le=600, description="Longest wait for an answer.")
    execution_s_max: float = Field(
        120.0, ge=1, le=3600, description="The longest that the site works on after a client has hung up."
    )
    auth: Literal["cas", "ldap", "manual", "oauth2", "shibboleth"] = Field(
        "cas", description="Authentication method of the users created."
    )
    batch_size: int = Field(50, ge=1, le=500, description="Students in one call.")

    @model_validator(mode="after")
    def _token_under_tls(self) -> Self:
        _tls("base_url", self.base_url)
        return self


def _tls(name: str, url: str) -> None:
    if url.startswith("http://") and not url.startswith(LOOPBACK):
        raise ValueError(f"{name} must begin with https://: a secret is sent there")
