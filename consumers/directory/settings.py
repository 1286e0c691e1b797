"""The directory's settings: its address, our account there, rules for entries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_validator

from consumers.directory import NAME
from consumers.kit.settings import (
    AnswerTime,
    BatchSize,
    BatchTime,
    ClientSettings,
    Dn,
    ExecutionTime,
    LdapUri,
)
from pipeline.settings import ADVANCED
from schemas.language import gettext

PROBE: Final = "sesame-probe"
"""The login of the probe's entry (ops/ldap/tree.ldif)."""

Domain = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$", max_length=253)
]


class FederationSettings(BaseModel):
    """Attributes that federations ask for. Without a value an attribute is left alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    esi: bool = Field(
        default=False,
        description="Whether European Student Identifiers are minted, and written to "
        "schacPersonalUniqueCode. One never changes, and none is made of a provisional INE.",
    )
    provisional_ine: str = Field(
        "",
        max_length=200,
        description="A regular expression of whole provisional INEs; any other then counts as definitive. "
        "Empty: only what the registrar says of an INE counts.",
    )
    home_organization: Domain | None = Field(
        None, description="The establishment's domain, for schacHomeOrganization."
    )
    no_reassign: bool = Field(
        default=False,
        description="Whether eduPersonAssurance says that an eduPersonPrincipalName is never given to "
        "another person. True of students' here; of others it is the site's to know.",
    )

    @field_validator("provisional_ine")
    @classmethod
    def _is_pattern(cls, pattern: str) -> str:
        return _pattern(pattern)


def _pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(gettext("is not a regular expression: {why}", why=error)) from error
    return pattern


Quota = Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]{0,6}[MG])?$")]


class DirectorySettings(ClientSettings):
    """The directory: OpenLDAP, with the SupAnn and eduPerson schemas and Sésame's own."""

    place: ClassVar[str] = NAME

    uri: LdapUri = Field(
        "ldap://127.0.0.1:389", description="`ldap://HOST:PORT` (with StartTLS) or `ldaps://…`."
    )
    bind_dn: Dn = Field(
        "cn=provisioner,ou=system,dc=univ-exemple,dc=fr", description="Sésame's own account in the directory."
    )
    bind_password: SecretStr | None = None
    bind_password_file: Path | None = Field(None, description="File that holds its password.")
    people_dn: Dn = Field(
        "ou=people,dc=univ-exemple,dc=fr", description="The branch of the people's entries."
    )
    groups_dn: Dn = Field("ou=groups,dc=univ-exemple,dc=fr", description="The branch of the groups.")
    group_kind: Literal["dynamic", "static"] = Field(
        "dynamic",
        description="`dynamic`: a group is a search on the people's entries, which the server answers. "
        "`static`: it lists its members, for software that cannot follow such a search.",
    )
    policy_dn: Dn | None = Field(
        None,
        description="The password policy (ppolicy) that applies to students, for diagnosis. Without it an "
        "expired password is not noticed.",
        json_schema_extra=ADVANCED,
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
        json_schema_extra=ADVANCED,
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
    federation: FederationSettings | None = Field(
        None,
        description="Attributes for federations, e.g. `{esi = true}`. Without it: none.",
        json_schema_extra=ADVANCED,
    )
    mail_quota: Quota = Field(
        "1G", description="Quota of a mailbox, e.g. `500M` or `1G`. Empty: the mail server's own."
    )
    batch_size: BatchSize = 20
    timeout_s: AnswerTime = 5.0
    call_s_max: BatchTime = 15.0
    execution_s_max: ExecutionTime = 10.0

    @property
    def system(self) -> str:
        """See `ConnectorSettings.system`."""
        return f"LDAP {self.uri}"

    @property
    def probe_dn(self) -> str:
        """The entry that the probe writes and reads; no person's."""
        return f"uid={PROBE},{self.people_dn}"

    @property
    def verb_s_max(self) -> float:
        """The longest time of one operation, in seconds: connection, TLS, bind and answer."""
        return self.connect_timeout_s + 3 * self.timeout_s

    @property
    def mail_quota_bytes(self) -> int | None:
        """The quota in bytes; None leaves it to the mail server."""
        if not self.mail_quota:
            return None
        return int(self.mail_quota[:-1]) * (2**30 if self.mail_quota.endswith("G") else 2**20)

    @field_validator("cursus_pattern")
    @classmethod
    def _one_group(cls, pattern: str) -> str:
        if re.compile(_pattern(pattern)).groups < 1:
            raise ValueError(gettext("has no group: put the part that is the cursus year in parentheses"))
        return pattern
