"""The registry's settings: minting of names, content and life of an account."""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Iterable
from datetime import date
from functools import cache
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.settings import ADVANCED
from schemas.account import NO_YEAR, STUDENT, Enrolment, Requirement
from schemas.language import gettext

STUDENT_AFFILIATIONS: Final = ("student", "member")
"""Affiliations of current students (eduPerson 202208 2.2.1): the first is primary."""
GRACE_AFFILIATIONS: Final = ("affiliate",)
"""Affiliations in grace: no longer a student, not yet gone."""

NAME_FIELDS = frozenset(
    {"given", "family", "birth_family", "given_initial", "given_initials", "family_initial", "student_number"}
)
"""Fields of a login, mail or principal template. See `consumers.registry.identity`."""

COHORT_FIELDS = frozenset({"step", "step_version", "year", "component", "step_label"})
"""Fields of the template of an enrolment's cohort or group."""

TEACHING_FIELDS = frozenset({"element", "group", "element_label", "year"})
"""Fields of the template of a teaching unit's or teaching group's cohort."""

RESERVED_NAMES = (
    # RFC 2142: mailbox names that belong to the institution
    *("abuse", "hostmaster", "info", "marketing", "news", "noc", "postmaster", "sales", "security"),
    *("support", "usenet", "uucp", "webmaster", "www", "ftp"),
    # RFC 5321 and common mail software
    *("mailer-daemon", "majordomo", "no-reply", "noreply", "listserv"),
    # names that certification authorities write to (CA/Browser Forum baseline requirements 3.2.2.4.4)
    *("admin", "administrator"),
    # accounts of operating systems, directories and Moodle
    *("adm", "anonymous", "backup", "bin", "cyrus", "daemon", "dovecot", "guest", "ldap", "mail", "manager"),
    *("nobody", "openldap", "operator", "root", "sync", "sys", "system", "test", "user"),
    # French addresses that look official
    *("accueil", "assistance", "contact", "dsi", "presidence", "president", "scolarite", "securite"),
)


_DOMAIN = re.compile(r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])")
_LITERAL = re.compile(r"[a-z0-9._-]*\Z")  # what both Moodle's usernames and a mail's local part take


@cache  # called for each name and each membership, with the few templates of the settings
def template_fields(template: str) -> frozenset[str]:
    """The fields of a template. Raises ValueError: braces that do not match, a conversion or format."""
    fields = set()
    for _literal, name, form, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if form or conversion:
            field = f"{{{name}}}"
            raise ValueError(gettext("{field} takes neither a conversion nor a format", field=field))
        fields.add(name)
    return frozenset(fields)


def _check_fields(template: str, allowed: frozenset[str]) -> None:
    unknown = sorted(template_fields(template) - allowed)
    if unknown:
        known = ", ".join(sorted(allowed))
        field = f"{{{unknown[0]}}}"
        raise ValueError(gettext("unknown field {field}; known are {names}", field=field, names=known))


def _check_local_part(template: str, allowed: frozenset[str]) -> None:
    _check_fields(template, allowed)
    if not template_fields(template):
        raise ValueError(gettext("a template without any field gives everybody the same name"))
    for literal, _name, _form, _conversion in string.Formatter().parse(template):
        if not _LITERAL.match(literal):
            what = gettext(
                "{literal!r}: between fields, only a-z, 0-9, dot, underscore and hyphen", literal=literal
            )
            raise ValueError(what)


def _domain(domain: str) -> str:
    if not _DOMAIN.match(domain):
        what = gettext("{domain!r} is not a domain name in lower case, like etu.univ.example", domain=domain)
        raise ValueError(what)
    return domain


def _login(template: str) -> str:
    _check_local_part(template, NAME_FIELDS)
    return template


Domain = Annotated[str, AfterValidator(_domain)]
LoginTemplate = Annotated[str, AfterValidator(_login)]


def _month_day(text: str) -> str:
    if not re.fullmatch(r"\d\d-\d\d", text):
        raise ValueError(gettext("a month and a day, like 10-31"))
    day_in(2001, text)  # no leap year: 02-29 would not exist three years out of four
    return text


def day_in(year: int, month_day: str) -> date:
    """That day of this calendar year."""
    return date.fromisoformat(f"{year}-{month_day}")


MonthDay = Annotated[str, AfterValidator(_month_day)]
"""A day of every year, like `10-31`."""


class RegistryModel(BaseModel):
    """Base of these settings: immutable, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MembershipTemplate(RegistryModel):
    """One cohort or group per enrolment, or per teaching unit or group.

    Fields of the one kind: {step} {step_version} {year} {component} {step_label}; of the other: {element}
    {group} {year} {element_label}. A template that names {group} gives nothing for a unit without groups.
    """

    key: str = Field(min_length=1, description="Moodle's cohort idnumber, or the LDAP group's cn.")
    name: str = Field(min_length=1, description="What people read.")
    requires: Requirement = Field(
        default=Requirement.ADMINISTRATIVE,
        description="Which enrolment must be valid before the student is a member.",
    )
    populations: frozenset[str] = Field(
        default=frozenset({STUDENT}), min_length=1, description="For whom it is; see `registry.populations`."
    )

    @property
    def fields(self) -> frozenset[str]:
        """The fields of key and name."""
        return template_fields(self.key) | template_fields(self.name)

    @property
    def of_teachings(self) -> bool:
        """True if it is for teaching units and groups rather than for enrolments."""
        return not self.fields <= COHORT_FIELDS

    @field_validator("key", "name")
    @classmethod
    def _known_fields(cls, template: str) -> str:
        _check_fields(template, COHORT_FIELDS | TEACHING_FIELDS)
        return template

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.populations != {STUDENT} and (self.of_teachings or "year" in self.fields):
            raise ValueError(gettext("only students have teaching units and a {year}", year="{year}"))
        if not self.of_teachings:
            return self
        if mixed := sorted(self.fields - TEACHING_FIELDS):
            what = gettext(
                "{field} belongs to an enrolment, {units} to a teaching unit: one template cannot name both",
                field=f"{{{mixed[0]}}}",
                units="{element}, {group}",
            )
            raise ValueError(what)
        if template_fields(self.key).isdisjoint({"element", "group"}):
            raise ValueError(gettext("a teaching unit's key must name {element} or {group}"))
        if "element_label" in template_fields(self.key):
            raise ValueError(gettext("a key cannot name {element_label}, which changes: name {element}"))
        return self


Affiliation = Literal[
    "student",
    "faculty",
    "staff",
    "employee",
    "member",
    "affiliate",
    "alum",
    "library-walk-in",
    "researcher",
    "retired",
    "emeritus",
    "teacher",
    "registered-reader",
]
"""eduPersonAffiliation's values (eduPerson 202208 2.2.1), and those that SupAnn 2018 adds."""


class PopulationRules(RegistryModel):
    """People other than students, and what is different for them. What is left out is as for students."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$", description="As feeds and entitlements name it.")
    label: str = Field(min_length=1, max_length=200, description="What people read.")
    affiliations: tuple[Affiliation, ...] = Field(
        min_length=1, description="eduPerson's affiliations; the first is primary."
    )
    mail_domain: Domain | None = Field(default=None, description="Domain of their mail addresses: {domain}.")
    login_template: LoginTemplate | None = Field(default=None, description="How their logins are made.")
    grace_days: int | None = Field(
        default=None, ge=0, le=730, description="How long access stays after the last day, in days."
    )


POPULATIONS: Final = (
    PopulationRules(name="staff", label="Personnel", affiliations=("staff", "employee", "member")),
    PopulationRules(
        name="teacher", label="Enseignant", affiliations=("faculty", "teacher", "employee", "member")
    ),
    PopulationRules(name="hosted", label="Personnel hébergé", affiliations=("affiliate",), grace_days=0),
    PopulationRules(name="guest", label="Invité", affiliations=("affiliate",), grace_days=0),
)
"""The populations of a site that says nothing else."""


class EsiRules(RegistryModel):
    """A site's rule for the INEs that an ESI may be minted from.

    Attributes:
        provisional: a regular expression of whole provisional INEs; empty: only the registrar's word counts.
    """

    provisional: str = ""

    def is_definitive(self, ine: str, provisional: bool | None) -> bool:  # noqa: FBT001 (as the fact has it)
        """True if an INE is known not to be provisional.

        `provisional`: by the registrar; None: it does not say.
        """
        if provisional or (self.provisional and re.fullmatch(self.provisional, ine, re.IGNORECASE)):
            return False
        return provisional is False or bool(self.provisional)


class RegistrySettings(RegistryModel):
    """How identities are minted and accounts made."""

    mail_domain: Domain = Field(
        default="etu.univ.example", description="Domain of the students' mail addresses: {domain}."
    )
    scope: Domain | None = Field(
        default=None, description="Scope of eduPersonPrincipalName: {scope}. Unset: the mail domain."
    )
    login_template: LoginTemplate = Field(
        default="{given}.{family}",
        description="How a login is made. Fields: {given} {family} {birth_family} {given_initial} "
        "{given_initials} {family_initial} {student_number}. A login never changes once minted.",
    )
    mail_template: str = Field(
        default="{login}@{domain}", description="How the mail address is made: the login's fields, {login}."
    )
    principal_template: str = Field(
        default="{login}@{scope}",
        description="How eduPersonPrincipalName is made: the login's fields, {login}.",
        json_schema_extra=ADVANCED,
    )
    login_length_max: int = Field(
        default=32,
        ge=8,
        le=64,
        description="Longest login, its counter included. 32 is what Linux takes, 64 a mail's local part.",
        json_schema_extra=ADVANCED,
    )
    rename: Literal["keep", "mail"] = Field(
        default="keep",
        description="What a change of the shown name changes. keep: no name of the account. mail: the mail "
        "address follows, and the one before stays an alias for ever; the login never changes.",
    )
    reserved_names: frozenset[str] = Field(
        default=frozenset(RESERVED_NAMES),
        description="Logins and local parts that nobody is given.",
        json_schema_extra=ADVANCED,
    )
    cohorts: tuple[MembershipTemplate, ...] = Field(
        default=(MembershipTemplate(key="{step}-{year}", name="{step_label} {year}"),),
        description="Cohorts in Moodle, one per enrolment, teaching unit or group, and template.",
    )
    groups: tuple[MembershipTemplate, ...] = Field(
        default=(),
        description="Groups in the directory, one per enrolment, teaching unit or group, and template.",
    )
    year_end: MonthDay = Field(
        default="10-31",
        description="Month and day, in the calendar year after it began, on which an academic year's "
        "enrolments stop to hold. Leave time for resits and late enrolments.",
    )
    grace_days: int = Field(
        default=60,
        ge=0,
        le=730,
        description="How long access stays when no enrolment is in force any more, in days.",
    )

    populations: tuple[PopulationRules, ...] = Field(
        default=POPULATIONS,
        max_length=50,
        description="People other than students, by `name`: their `label` and `affiliations` (the first is "
        "primary) and, where it differs, `mail_domain`, `login_template` and `grace_days`.",
        json_schema_extra=ADVANCED,
    )

    def population(self, name: str) -> PopulationRules | None:
        """A population's rules; None: students, or one that the settings no longer name."""
        return next((each for each in self.populations if each.name == name), None)

    def naming(self, population: str) -> RegistrySettings:
        """These settings, with what is different in the names of a population."""
        rules = self.population(population)
        if rules is None:
            return self
        own = {"mail_domain": rules.mail_domain, "login_template": rules.login_template}
        return self.model_copy(update={name: value for name, value in own.items() if value is not None})

    def affiliations(self, population: str) -> tuple[str, ...]:
        """A population's affiliations, the primary one first."""
        if population == STUDENT:
            return STUDENT_AFFILIATIONS
        rules = self.population(population)
        return GRACE_AFFILIATIONS if rules is None else rules.affiliations

    def grace_of(self, populations: Iterable[str]) -> int:
        """Days of access after the last day: the longest of these populations'."""
        found = [self.population(name) for name in populations]
        return max(
            (self.grace_days if one is None or one.grace_days is None else one.grace_days for one in found),
            default=self.grace_days,
        )

    @property
    def principal_scope(self) -> str:
        """The scope of principal names."""
        return self.scope or self.mail_domain

    def year_ends_on(self, year: int) -> date:
        """The last day on which an enrolment of academic `year` (2026: 2026-2027) holds."""
        return day_in(year + 1, self.year_end)

    def ends_on(self, enrolment: Enrolment) -> date | None:
        """The last day on which an enrolment holds; None: no end is known."""
        if enrolment.ends_on is not None or enrolment.year == NO_YEAR:
            return enrolment.ends_on
        return self.year_ends_on(enrolment.year)

    @field_validator("populations")
    @classmethod
    def _named_once(cls, populations: tuple[PopulationRules, ...]) -> tuple[PopulationRules, ...]:
        names = [each.name for each in populations]
        for name in names:
            if name == STUDENT or names.count(name) > 1:
                raise ValueError(gettext("{name}: each other population is named once", name=name))
        return populations

    @field_validator("mail_template", "principal_template")
    @classmethod
    def _an_address(cls, template: str) -> str:
        local, at, domain = template.partition("@")
        if not at or (domain not in ("{domain}", "{scope}") and not _DOMAIN.match(domain)):
            raise ValueError(
                gettext("an address template ends in @{domain}, @{scope} or @ and a domain name")
            )
        _check_local_part(local, NAME_FIELDS | {"login"})
        return template

    @field_validator("reserved_names")
    @classmethod
    def _lower(cls, names: frozenset[str]) -> frozenset[str]:
        return frozenset(name.lower() for name in names)

    def check_populations(self, named: Collection[str]) -> None:
        """Raise ValueError unless these are populations of the site."""
        if unknown := sorted({*named} - {STUDENT, *(each.name for each in self.populations)}):
            raise ValueError(gettext("{name}: no such population", name=unknown[0]))

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        for kind in (self.cohorts, self.groups):
            keys = [template.key for template in kind]
            self.check_populations(set().union(*(each.populations for each in kind)))
            if len(set(keys)) != len(keys):
                raise ValueError(gettext("two templates of one kind have the same key"))
        return self
