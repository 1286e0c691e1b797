"""How the registry makes an account: logins, addresses, cohorts, groups, and how long an account is valid."""

from __future__ import annotations

import re
import string
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from schemas.account import Requirement
from sesame.settings.base import Section

RESERVED_LOGINS = (
    "abuse", "admin", "administrateur", "administrator", "apache", "cas", "contact", "daemon", "dovecot",
    "ftp", "guest", "help", "hostmaster", "info", "ldap", "mail", "mailer-daemon", "moodle", "no-reply",
    "nobody", "noc", "noreply", "postfix", "postmaster", "root", "scolarite", "security", "sesame", "slapd",
    "spam", "support", "sysadmin", "system", "test", "usenet", "webmaster", "www", "www-data",
)  # fmt: skip
"""Mailbox names of RFC 2142, system accounts, and names that would pass for a service of the university."""


def _fields_of(*known: str) -> AfterValidator:
    """Check that a template uses no other field than these, and at least one of them."""

    def check(template: str) -> str:
        try:
            used = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
        except ValueError as error:
            raise ValueError(f"is not a template: {error}") from error
        wrong = sorted(used - set(known))
        if wrong or not used:
            may = ", ".join("{" + name + "}" for name in known)
            what = "uses " + ", ".join("{" + name + "}" for name in wrong) if wrong else "uses no field"
            raise ValueError(f"{what}; the fields are {may}")
        return template

    return AfterValidator(check)


_DOMAIN_CHARACTERS_MAX = 253  # RFC 1035, as text


def _domain(text: str) -> str:
    label = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
    if len(text) > _DOMAIN_CHARACTERS_MAX or not re.fullmatch(rf"{label}(?:\.{label})+", text):
        raise ValueError("is not a domain name in lower case, such as etu.univ-exemple.fr")
    return text


Domain = Annotated[str, AfterValidator(_domain)]
LoginTemplate = Annotated[str, _fields_of("given", "family", "given_initial", "student_number")]
MailTemplate = Annotated[str, _fields_of("login", "given", "family", "domain")]
MembershipText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    _fields_of("step", "step_version", "step_label", "component", "year", "next_year"),
]
MonthDay = Annotated[str, StringConstraints(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]


class MembershipTemplate(BaseModel):
    """A cohort or a group that every enrolment gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: MembershipText = Field(description="Moodle's cohort idnumber, or the LDAP group's cn.")
    name: MembershipText = Field(description="The name that people read.")
    requires: Requirement = Field(
        Requirement.ADMINISTRATIVE,
        description="Which enrolment must be valid: `administrative` or `pedagogical`.",
    )


class RegistrySettings(Section):
    """How an account is made of the registrar's facts."""

    place: ClassVar[str] = "registry"

    login_template: LoginTemplate = Field(
        "{given}.{family}",
        description="How a login is made of `{given}`, `{family}`, `{given_initial}` and `{student_number}`, "
        "in ASCII lower case. Homonyms get a counter.",
    )
    login_length_max: int = Field(
        32, ge=8, le=64, description="Longest login, in characters, the homonyms' counter included."
    )
    reserved_logins: tuple[str, ...] = Field(
        RESERVED_LOGINS, description="Logins that nobody gets. Setting this replaces the default list."
    )
    mail_domain: Domain = Field(
        "etu.univ-exemple.fr",
        description="Domain of the students' addresses: `{domain}` in the mail template.",
    )
    mail_template: MailTemplate = Field(
        "{login}@{domain}",
        description="How an address is made of `{login}`, `{given}`, `{family}`, `{domain}`.",
    )
    principal_scope: Domain = Field(
        "univ-exemple.fr", description="Scope of eduPersonPrincipalName: login@scope. Never change it."
    )
    cohorts: tuple[MembershipTemplate, ...] = Field(
        (
            MembershipTemplate(
                key="{step}-{year}", name="{step_label} {year}", requires=Requirement.ADMINISTRATIVE
            ),
        ),
        description="Moodle cohorts that each enrolment gives. The fields are `{step}`, `{step_version}`, "
        "`{step_label}`, `{component}`, `{year}` and `{next_year}`.",
    )
    groups: tuple[MembershipTemplate, ...] = Field(
        (
            MembershipTemplate(
                key="etape-{step}-{year}",
                name="{step_label} {year}-{next_year}",
                requires=Requirement.ADMINISTRATIVE,
            ),
            MembershipTemplate(
                key="composante-{component}", name="{component}", requires=Requirement.ADMINISTRATIVE
            ),
        ),
        description="LDAP groups that each enrolment gives, of the same fields.",
    )
    payment_required: bool = Field(
        default=False, description="Whether an enrolment that awaits payment is kept from being in force."
    )
    year_end: MonthDay = Field(
        "10-31",
        description="Month and day (MM-DD) until which an enrolment of year N gives access in year N+1: late "
        "enough for the resits, and for the next enrolment.",
    )
    pending_age_s_max: float = Field(
        7 * 86_400,
        ge=60,
        le=90 * 86_400,
        description="How long an act for a student number that is not known yet waits for the enrolment, "
        "before it goes to the dead letters.",
    )
