"""From an account to its directory entry, in SupAnn's and eduPerson's formats. Pure.

No other file knows these formats. Sources: SupAnn 2018 rev. 2 (attributes, `supannEtuInscription`,
`supannRessourceEtatDate`), eduPerson (affiliations, scoped values), RFC 2798 (inetOrgPerson).
Deliberately absent: birth date, INE (but in an ESI, where the site asks for that) and personal mail, which
stay with the registry, and the birth name and civil given names, which would expose people who use other
names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from anyascii import anyascii

from consumers.directory.settings import DirectorySettings
from schemas.account import STUDENT, Account, Enrolment, Hold, Stage, is_students

CLASSES = ("inetOrgPerson", "eduPerson", "supannPerson", "sesameAccount")

ESI: Final = "schacPersonalUniqueCode"
HOME: Final = "schacHomeOrganization"
ASSURANCE: Final = "eduPersonAssurance"
ESI_PREFIX: Final = "urn:schac:personalUniqueCode:int:esi:fr:"
"""Of the values of schacPersonalUniqueCode that are ours to decide. Others, of other countries too, stay."""

NO_REASSIGN: Final = "https://refeds.org/assurance/ID/eppn-unique-no-reassign"
"""A principal name is never given to another person (REFEDS Assurance Framework): the ledger sees to it."""

FEDERATION: Final = (HOME, ASSURANCE, ESI)
"""Attributes for federations, written where the site says so."""

_SCHAC: Final = {HOME: "schacContactLocation", ESI: "schacLinkageIdentifiers"}
"""SCHAC's object class for each of its attributes."""

OWNED = (
    "cn",
    "sn",
    "givenName",
    "displayName",
    "mail",
    "supannAutreMail",
    "preferredLanguage",
    "eduPersonAffiliation",
    "eduPersonPrimaryAffiliation",
    "eduPersonScopedAffiliation",
    "eduPersonPrincipalName",
    "eduPersonOrgDN",
    "supannAliasLogin",
    "supannRefId",
    "supannEtablissement",
    "supannEntiteAffectation",
    "supannEntiteAffectationPrincipale",
    "supannEtuInscription",
    "supannEtuAnneeInscription",
    "supannEtuEtape",
    "supannEtuCursusAnnee",
    "supannEtuDateFin",
    "supannRessourceEtat",
    "supannRessourceEtatDate",
    "sesameStage",
    "sesameHold",
    "sesameGroup",
    "sesameMailEnabled",
    "sesameMailQuota",
)
"""Attributes whose values the pipeline alone decides.

`supannEtuId` and `uid` are written once, with the entry; supannEtuId again where a person of several numbers
is known by another one (`KEPT_UNDER`); `userPassword` only together with `sesameCredentialRef`. Everything
else on the entry belongs to others."""

KEPT_UNDER = "{SESAME}"
"""Label in supannRefId of the number that the pipeline keeps an entry under.

Present if supannEtuId, which follows the registrar, shows another number or none."""

GROUPS: Final = "groups"
"""The field that differs when the groups are not the wanted ones."""

VERSION: Final = "sesameVersion"
CREDENTIAL: Final = "sesameCredentialRef"
"""Names the password that an entry has, since a hash cannot be read back; both are one write."""

OWNS: Final = (
    *OWNED,
    *FEDERATION,
    GROUPS,
    "uid",
    "supannEtuId",
    "objectClass",
    "userPassword",
    CREDENTIAL,
    VERSION,
)
"""All our fields of an entry, except its lock (pwdAccountLockedTime), which is its access."""

EVIDENCE = ("supannCodeINE", "supannOIDCDateDeNaissance", "schacDateOfBirth", "supannNomDeNaissance")
"""Attributes by which other systems may have marked an entry's owner. Never written."""

_HOLDS = (
    (Hold.TECHNICAL, "VerrouTechnique"),
    (Hold.ADMINISTRATIVE, "VerrouAdministratif"),
    (Hold.SUSPENDED, "SupannVerrouille"),
    (Hold.STOLEN_PASSWORDS, "SupannVerrouille"),
)
"""SupAnn's sub-state of a locked resource; a resource shows one, the first that applies."""

_STAGES = {
    Stage.PRECREATED: "I:SupannPrecree",
    Stage.ACTIVE: "A:SupannActif",
    Stage.GRACE: "A:SupannSursis",
    Stage.EXPIRED: "I:SupannExpire",
    Stage.ERASED: "I:SupannSupprDonnees",
}


@dataclass(frozen=True, slots=True)
class Profile:
    """An establishment's decisions on its entries.

    Attributes:
        scope: the domain of scoped values and principal names, e.g. `univ-exemple.fr`.
        mail_target: the target of students' mailboxes: an account may be at another stage there.
    """

    settings: DirectorySettings
    scope: str
    mail_target: str = ""


def wanted_fields(account: Account, profile: Profile) -> dict[str, tuple[str, ...]]:
    """The wanted fields of this account's entry, except its lock."""
    attributes = _attributes(account, profile)
    asked = federation_of(profile.settings)
    fields = {
        "uid": (account.login.lower(),),
        "supannEtuId": numbers_of(account),
        "objectClass": classes_of(profile.settings),
        **{name: attributes.get(name, ()) for name in OWNED},
        **{name: asked[name] for name in asked if name != ESI},
        VERSION: (str(account.version),),
        GROUPS: folded(group.key for group in account.groups if group.met),
    }
    return fields if account.credential_ref is None else {**fields, CREDENTIAL: (account.credential_ref,)}


def federation_of(settings: DirectorySettings) -> dict[str, tuple[str, ...]]:
    """The wanted attributes for federations, with values common to all entries."""
    asked = settings.federation
    if asked is None:
        return {}
    home = {HOME: (asked.home_organization,)} if asked.home_organization is not None else {}
    never: dict[str, tuple[str, ...]] = {ASSURANCE: (NO_REASSIGN,)} if asked.no_reassign else {}
    return {**home, **never, **({ESI: ()} if asked.esi else {})}


def classes_of(settings: DirectorySettings) -> tuple[str, ...]:
    """The object classes of our entries at this site."""
    asked = federation_of(settings)
    return (*CLASSES, *(each for name, each in _SCHAC.items() if name in asked))


def is_ours(name: str, value: str) -> bool:
    """True if this value of an attribute that others write too is ours to decide."""
    if name == ESI:
        return value.lower().startswith(ESI_PREFIX.lower())
    return name != ASSURANCE or value == NO_REASSIGN


def numbers_of(account: Account) -> tuple[str, ...]:
    """The values of supannEtuId."""
    if account.shown_number is None:
        return (account.student_number,)
    return (account.shown_number,) if account.shown_number else ()


def ordered(values: Iterable[str]) -> tuple[str, ...]:
    """Sort an attribute's values, which have no order."""
    return tuple(sorted(set(values)))


def folded(names: Iterable[str]) -> tuple[str, ...]:
    """Normalize names as the server compares them: without case (RFC 4519)."""
    return ordered(name.lower() for name in names)


def missing_classes(wanted: Sequence[str], present: Sequence[str]) -> tuple[str, ...]:
    """Object classes to add; their names compare without case (RFC 4512)."""
    have = {name.lower() for name in present}
    return tuple(name for name in wanted if name.lower() not in have)


def user_password(hashed: str) -> str:
    """The userPassword value for a hash of the vault. Argon2 needs slapd's scheme (slappw-argon2)."""
    return f"{{ARGON2}}{hashed}" if hashed.startswith("$argon2") else hashed


def _attributes(account: Account, profile: Profile) -> dict[str, tuple[str, ...]]:
    person = account.person
    in_force = [e for e in account.enrolments if e.in_force and e.population == STUDENT]
    until = account.valid_until if is_students(account.student_number) else None
    affiliations = _affiliations(account)
    values: dict[str, Iterable[str]] = {
        "cn": [_plain(f"{person.family_name} {person.shown_given_name}") or account.login],
        "sn": [person.filed_name or account.login],  # MUST of person: an only name goes here
        "givenName": [person.shown_given_name],
        "displayName": [person.display_name],
        "mail": [account.mail],
        "supannAutreMail": [alias for alias in account.aliases if alias != account.mail],
        "preferredLanguage": [person.language],
        "eduPersonAffiliation": affiliations,
        "eduPersonPrimaryAffiliation": affiliations[:1],
        "eduPersonScopedAffiliation": [f"{a}@{profile.scope}" for a in affiliations],
        "eduPersonPrincipalName": [account.principal],
        "eduPersonOrgDN": [profile.settings.organisation_dn or ""],
        "supannAliasLogin": [account.login],
        "supannRefId": _references(account, profile.settings.registrar),
        "supannEtablissement": [f"{{UAI}}{profile.settings.uai}"],
        "supannEntiteAffectation": account.entities,
        "supannEntiteAffectationPrincipale": account.entities[:1],
        "supannEtuInscription": [_inscription(e, profile) for e in in_force],
        "supannEtuAnneeInscription": [str(e.year) for e in in_force],
        "supannEtuEtape": [_step(e, profile) for e in in_force],
        "supannEtuCursusAnnee": [_cursus(e, profile) for e in in_force],
        "supannEtuDateFin": [until.strftime("%Y%m%d235959Z")] if until else [],
        "sesameGroup": [g.key for g in account.groups if g.met],
        "sesameMailQuota": [str(profile.settings.mail_quota_bytes or "")],
    }
    return _clean(values) | _state(account, profile)


def _references(account: Account, registrar: str) -> list[str]:
    shown = f"{{{registrar}}}{account.shown_number or account.student_number}"
    return [shown] if account.shown_number is None else [shown, f"{KEPT_UNDER}{account.student_number}"]


def _state(account: Account, profile: Profile) -> dict[str, tuple[str, ...]]:
    """An entry's resources and their states, in SupAnn's terms."""
    at_mail = account.at(profile.mail_target)
    states = {"COMPTE": _account_state(account), "MAIL": _account_state(at_mail)}
    dates = {"COMPTE": _state_dates(account), "MAIL": _state_dates(at_mail)}
    return _clean(
        {
            "supannRessourceEtat": [f"{{{name}}}{state}" for name, state in states.items()],
            "supannRessourceEtatDate": [f"{{{name}}}{state}:{dates[name]}" for name, state in states.items()],
            "sesameStage": [account.stage.value],
            "sesameHold": [hold.value for hold in account.holds],
            "sesameMailEnabled": ["TRUE" if at_mail.access_open else "FALSE"],
        }
    )


def _account_state(account: Account) -> str:
    """SupAnn's letter (A active, I inactive, S suspended) and sub-state, e.g. `A:SupannActif`.

    An account to be erased shows that whatever its holds: the mail server finds the mailbox by it."""
    if account.stage is Stage.ERASED:
        return _STAGES[account.stage]
    for hold, sub_state in _HOLDS:
        if hold in account.holds:
            return f"S:{sub_state}"
    return _STAGES[account.stage]


def _state_dates(account: Account) -> str:
    """The first and the last day of a state, as far as they are known.

    A closed account has no last day, and an account does not record when a hold began. Without a known
    beginning the value stays as written before.
    """
    until = account.valid_until.strftime("%Y%m%d") if account.valid_until else ""
    if account.stage_since is None:
        return f":{until}"
    since = "" if account.holds and account.stage is not Stage.ERASED else f"{account.stage_since:%Y%m%d}"
    return f"{since}:{until if account.access_open else ''}"


def _affiliations(account: Account) -> list[str]:
    """The affiliations, the primary one first; eduPerson: a student is a member."""
    given = list(dict.fromkeys(account.affiliations))
    if "student" in given and "member" not in given:
        given.append("member")
    return given


def _inscription(enrolment: Enrolment, profile: Profile) -> str:
    """supannEtuInscription: `[key=value]` in SupAnn's order, without unknown keys."""
    parts = (
        ("etab", f"{{UAI}}{profile.settings.uai}"),
        ("anneeinsc", str(enrolment.year)),
        ("cursusann", _cursus(enrolment, profile)),
        ("affect", enrolment.component),
        ("etape", _step(enrolment, profile)),
    )
    return "".join(f"[{key}={value}]" for key, value in parts if value)


def _step(enrolment: Enrolment, profile: Profile) -> str:
    code = profile.settings.step_format.format(step=enrolment.step, version=enrolment.step_version)
    return f"{{UAI:{profile.settings.uai}}}{code}"


def _cursus(enrolment: Enrolment, profile: Profile) -> str:
    found = re.search(profile.settings.cursus_pattern, enrolment.step)
    return f"{{SUPANN}}{found.group(1)}" if found else ""


def _plain(text: str) -> str:
    """Transliterate to ASCII, as SupAnn wants cn; collapse blanks."""
    words = re.split(r"(\W+)", "".join(filter(_has_a_spelling, text)))
    return " ".join("".join(map(_spelt, words)).split())


def _spelt(word: str) -> str:
    """A word in ASCII, in capitals if the word is (ŒUVRARD: OEUVRARD).

    ß long had no capital, and may occur among capitals. A single letter says nothing of its word.
    """
    capitals = len(word) > 1 and word.replace("ß", "").isupper()
    return anyascii(word).upper() if capitals else anyascii(word)


def _has_a_spelling(char: str) -> bool:
    """False for symbols and lone combining marks. They would be spelt out (':grinning:')."""
    if char.isascii():
        return True
    category, name = unicodedata.category(char), unicodedata.name(char, "")
    return category not in ("So", "Cf", "Me") and not name.startswith("COMBINING ")


def _clean(values: dict[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Drop empty values, which LDAP lacks, and repetitions. Sort, since values have no order."""
    return {name: tuple(sorted({v.strip() for v in some if v.strip()})) for name, some in values.items()}
