"""The targets: where each one is, how Sésame identifies itself there, and how much it may ask at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from consumers.moodle import settings as moodle
from pipeline.settings import ADVANCED, Section

EXECUTION = "Longest time that the server may go on with a call that Sésame gave up; leases outlive it."
CA_FILE = "Certificates (PEM) that the server's one is verified with. Without it: those of the system."

HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+[^\s?#]*$", max_length=2048)]
LdapUri = Annotated[str, StringConstraints(pattern=r"^ldaps?://[^\s/?#]+/?$", max_length=512)]
Dn = Annotated[str, StringConstraints(pattern=r"^[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*$", max_length=512)]
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s<>]+@[^@\s<>]+$", max_length=254)]
ShownName = Annotated[str, StringConstraints(pattern=r"^[^\s<>]([^<>]*[^\s<>])?$", max_length=100)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Mode = Literal["write", "observe"]
Quota = Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]{0,6}[MG])?$")]

MODE = (
    "`write`, or `observe`: say what would be written, and write nothing. No account is complete while one "
    "of its targets is only observed."
)


class DirectorySettings(Section):
    """The directory: OpenLDAP, with the SupAnn and eduPerson schemas and Sésame's own."""

    place: ClassVar[str] = "directory"

    mode: Mode = Field("write", description=MODE)
    uri: LdapUri = Field(
        "ldap://127.0.0.1:389", description="`ldap://HOST:PORT` (with StartTLS) or `ldaps://…`."
    )
    ca_file: Path | None = Field(None, description=CA_FILE)
    bind_dn: Dn = Field(
        "cn=provisioner,ou=system,dc=univ-exemple,dc=fr", description="Sésame's own account in the directory."
    )
    bind_password: SecretStr | None = Field(
        None, description="Its password. Better given by a file.", json_schema_extra=ADVANCED
    )
    bind_password_file: Path | None = Field(None, description="File that holds `directory.bind_password`.")
    people_dn: Dn = Field(
        "ou=people,dc=univ-exemple,dc=fr", description="The branch of the people's entries."
    )
    groups_dn: Dn = Field("ou=groups,dc=univ-exemple,dc=fr", description="The branch of the groups.")
    group_kind: Literal["dynamic", "static"] = Field(
        "dynamic",
        description="`dynamic`: a group is a search on the people's entries, which the server answers. "
        "`static`: it lists its members, for software that cannot follow such a search.",
    )
    probe_dn: Dn = Field(
        "uid=sesame-probe,ou=people,dc=univ-exemple,dc=fr",
        description="The entry that the probe writes and reads; nobody's.",
    )
    policy_dn: Dn | None = Field(
        None,
        description="The password policy (ppolicy) that applies to students, for diagnosis. Without it an "
        "expired password is not noticed.",
    )
    uai: Annotated[str, StringConstraints(pattern=r"^[0-9]{7}[A-Z]$")] = Field(
        "0751717J", description="The establishment's national code (UAI), for the SupAnn attributes."
    )
    registrar: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,31}$")] = Field(
        "APOGEE", description="Label of the student number's source in supannRefId."
    )
    organisation_dn: Dn | None = Field(
        None,
        description="The establishment's entry, for eduPersonOrgDN. Without it: the attribute is left out.",
    )
    step_format: str = Field(
        "{step}-{version}",
        min_length=1,
        max_length=64,
        description="A step's code in SupAnn attributes, of `{step}` and `{version}`.",
        json_schema_extra=ADVANCED,
    )
    cursus_pattern: str = Field(
        "^([LMDXB][0-9])(?![0-9])",
        max_length=200,
        description="Regular expression whose first group is SupAnn's cursus year in a step's code.",
        json_schema_extra=ADVANCED,
    )
    mail_quota: Quota = Field(
        "1G", description="Quota of a mailbox, e.g. `500M` or `1G`. Empty: the mail server's own."
    )
    connect_timeout_s: int = Field(
        5, ge=1, le=120, description="Longest wait for a connection.", json_schema_extra=ADVANCED
    )
    receive_timeout_s: int = Field(
        5, ge=1, le=600, description="Longest wait for one answer.", json_schema_extra=ADVANCED
    )
    call_s_max: Seconds = Field(
        15.0,
        description="Longest time for one batch in all; the rest is retried.",
        json_schema_extra=ADVANCED,
    )
    execution_s_max: Seconds = Field(10.0, description=EXECUTION, json_schema_extra=ADVANCED)
    batch_size: int = Field(20, ge=1, le=500, description="Students in one call.", json_schema_extra=ADVANCED)

    @property
    def mail_quota_bytes(self) -> int | None:
        """The quota in bytes; None leaves it to the mail server."""
        if not self.mail_quota:
            return None
        return int(self.mail_quota[:-1]) * (2**30 if self.mail_quota.endswith("G") else 2**20)

    @field_validator("cursus_pattern")
    @classmethod
    def _one_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from error
        if groups < 1:
            raise ValueError("has no group: put the part that is the cursus year in parentheses")
        return pattern


class MailboxSettings(Section):
    """The mail server: Dovecot, by doveadm over HTTP and LMTP."""

    place: ClassVar[str] = "mailbox"

    mode: Mode = Field("write", description=MODE)
    doveadm_url: HttpsUrl = Field(
        "https://127.0.0.1:8443/doveadm/v1", description="doveadm's HTTP address; `http://` on loopback only."
    )
    ca_file: Path | None = Field(None, description=CA_FILE)
    api_key: SecretStr | None = Field(
        None, description="doveadm's API key. Better given by a file.", json_schema_extra=ADVANCED
    )
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
        10.0,
        ge=10,
        le=600,
        description="Longest wait for an answer; with its directory down, Dovecot takes about 6 s to say so.",
        json_schema_extra=ADVANCED,
    )
    call_s_max: Seconds = Field(
        10.0,
        description="Time after which nothing more is begun for a batch; the rest is retried.",
        json_schema_extra=ADVANCED,
    )
    execution_s_max: Seconds = Field(10.0, description=EXECUTION, json_schema_extra=ADVANCED)
    batch_size: int = Field(10, ge=1, le=100, description="Students in one call.", json_schema_extra=ADVANCED)

    @model_validator(mode="after")
    def _key_under_tls(self) -> Self:
        tls("doveadm_url", self.doveadm_url)
        return self


class MoodleSettings(Section):
    """Moodle, by its web services."""

    place: ClassVar[str] = "moodle"

    mode: Mode = Field("write", description=MODE)
    base_url: HttpsUrl = Field(
        "https://moodle.univ-exemple.fr", description="The site's address; `http://` on loopback only."
    )
    ca_file: Path | None = Field(None, description=CA_FILE)
    token: SecretStr | None = Field(
        None, description="The service user's token. Better given by a file.", json_schema_extra=ADVANCED
    )
    token_file: Path | None = Field(None, description="File that holds `moodle.token`.")
    max_input_vars: int = Field(
        1000,
        ge=50,
        le=100_000,
        description="The site's PHP `max_input_vars`. Never set more than it has: PHP drops the rest unsaid.",
    )
    user_batch: int = Field(50, ge=1, le=500, description="Users in one call.", json_schema_extra=ADVANCED)
    member_batch: int = Field(
        200, ge=1, le=1000, description="Cohort memberships in one call.", json_schema_extra=ADVANCED
    )
    max_in_flight: int = Field(
        4, ge=1, le=64, description="Calls at once; the number of the site's cores is a good value."
    )
    connect_timeout_s: Seconds = Field(
        5.0, description="Longest wait for a connection.", json_schema_extra=ADVANCED
    )
    write_timeout_s: Seconds = Field(
        10.0, description="Longest time to send a request.", json_schema_extra=ADVANCED
    )
    read_timeout_s: Seconds = Field(
        30.0, description="Longest wait for an answer.", json_schema_extra=ADVANCED
    )
    call_s_max: Seconds = Field(
        40.0,
        description="Longest time for one batch in all; the rest is retried.",
        json_schema_extra=ADVANCED,
    )
    execution_s_max: Seconds = Field(
        30.0,
        description=f"{EXECUTION} PHP goes on up to its `max_execution_time`.",
        json_schema_extra=ADVANCED,
    )
    read_attempts: int = Field(
        3,
        ge=1,
        le=10,
        description="Attempts to read before the site is called down.",
        json_schema_extra=ADVANCED,
    )
    write_attempts: int = Field(
        3,
        ge=1,
        le=10,
        description="Attempts to write while the site's database refuses, before the batch is split.",
        json_schema_extra=ADVANCED,
    )
    retry_wait_s_max: Seconds = Field(
        2.0, description="Longest pause between two of these attempts.", json_schema_extra=ADVANCED
    )
    auth: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,19}$")] = Field(
        "cas", description="Authentication plugin of the users created."
    )
    missing_name: ShownName = Field(
        ".",
        description="First name, in Moodle, of somebody who has one name only: Moodle takes no blank one. "
        "The name itself is the last name.",
        json_schema_extra=ADVANCED,
    )
    languages: Mapping[str, str] = Field(
        default_factory=dict,
        description='A person\'s language to a language pack installed on the site, e.g. `{fr = "fr"}`. '
        "Without it the language is left to Moodle.",
    )
    operator_recheck_s: Seconds = Field(
        3600.0,
        description="How often to look again at what waits for an operator.",
        json_schema_extra=ADVANCED,
    )

    @model_validator(mode="after")
    def _token_under_tls(self) -> Self:
        tls("base_url", self.base_url)
        return self

    def site(self) -> moodle.MoodleSettings:
        """These settings as the consumer takes them, the token read.

        Raises:
            SecretUnreadable: the token is not set or cannot be read.
        """
        given = {name: getattr(self, name) for name in type(self).model_fields}
        given |= {"token": self.secret("token"), "base_url": self.base_url.rstrip("/")}
        given["read_only"] = given.pop("mode") == "observe"
        del given["token_file"], given["execution_s_max"]
        return moodle.MoodleSettings.model_validate(given)


def tls(name: str, url: str) -> None:
    """Refuse an address that shows a secret, or over which one would travel in the clear.

    Raises:
        ValueError: what is wrong with it.
    """
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ValueError(f"{name} must not carry a name or a password: it is shown and logged")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"{name} must begin with https://: a secret is sent there")


def is_loopback(host: str) -> bool:
    """Whether this names the machine itself."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
