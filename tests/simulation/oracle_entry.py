"""A student's directory entry, written a second time; see `oracle`.

From SupAnn 2018 (états de ressource, supannEtuInscription) and eduPerson, for this world's establishment.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from schemas.account import Account
from tests.simulation import oracle

UAI = "0751717J"
SCOPE = "etu.univ-exemple.fr"
_IN_ASCII = str.maketrans("ÈÉỄèéễ’", "EEEeee'")
ROLES: Mapping[str, tuple[str, ...]] = {
    "precreated": ("student", "member"),
    "active": ("student", "member"),
    "grace": ("affiliate",),
}
_FOR_GOOD = "000001010000Z"  # slapo-ppolicy(5)

Attributes = Mapping[str, Collection[str]]


def entry_of(account: Account, password: str | None) -> dict[str, set[str]]:
    """Every attribute of the entry with its values, without empty ones.

    `password`: the hash of the password that the student chose last, as it was sealed.
    """
    values = _who(account) | _what(account) | _state(account)
    if oracle.access(account) and account.credential_ref is not None:
        values |= {"sesameCredentialRef": {account.credential_ref}, "userPassword": {f"{{ARGON2}}{password}"}}
    return {name: some for name, some in values.items() if some}


def entry_differs(account: Account, password: str | None, shown: Attributes) -> list[str]:
    """Names of the wrong attributes."""
    wanted = entry_of(account, password)
    names = wanted.keys() | shown.keys()
    if not oracle.access(account):  # it keeps its former password
        names -= {"sesameCredentialRef", "userPassword"}
    return sorted(name for name in names if wanted.get(name, set()) != set(shown.get(name, ())))


def _who(account: Account) -> dict[str, set[str]]:
    family, given, number = account.person.birth_name, account.person.given_name, account.student_number
    return {
        "objectClass": {"inetOrgPerson", "eduPerson", "supannPerson", "sesameAccount"},
        "uid": {account.login},
        "supannEtuId": {number},
        "supannAliasLogin": {account.login},
        "supannRefId": {f"{{APOGEE}}{number}"},
        "sesameVersion": {str(account.version)},
        "cn": {f"{family} {given}".translate(_IN_ASCII)},
        "sn": {family},
        "givenName": {given},
        "displayName": {f"{given} {family}"},
        "preferredLanguage": {account.person.language},
        "mail": {account.mail},
        "supannAutreMail": set(account.aliases),
        "eduPersonPrincipalName": {f"{account.login}@{SCOPE}"},
    }


def _what(account: Account) -> dict[str, set[str]]:
    steps = oracle.steps_of(account)
    entered = oracle.in_force(steps)
    roles = ROLES.get(account.stage, ())
    components = [oracle.COMPONENTS[step] for step in entered]
    return {
        "eduPersonAffiliation": set(roles),
        "eduPersonPrimaryAffiliation": set(roles[:1]),
        "eduPersonScopedAffiliation": {f"{role}@{SCOPE}" for role in roles},
        "supannEtablissement": {f"{{UAI}}{UAI}"},
        "supannEntiteAffectation": set(components),
        "supannEntiteAffectationPrincipale": set(components[:1]),
        "supannEtuAnneeInscription": {str(oracle.YEAR) for _ in entered},
        "supannEtuEtape": {_step(step) for step in entered},
        "supannEtuCursusAnnee": {f"{{SUPANN}}{step[:2]}" for step in entered},
        "supannEtuInscription": {
            f"[etab={{UAI}}{UAI}][anneeinsc={oracle.YEAR}][cursusann={{SUPANN}}{step[:2]}]"
            f"[affect={oracle.COMPONENTS[step]}][etape={_step(step)}]"
            for step in entered
        },
        "sesameGroup": {key for key, met in oracle.groups(steps).items() if met},
    }


def _step(step: str) -> str:
    return f"{{UAI:{UAI}}}{step}-261"


def _state(account: Account) -> dict[str, set[str]]:
    names = {"precreated": "I:SupannPrecree", "active": "A:SupannActif", "grace": "A:SupannSursis"}
    state = "S:SupannVerrouille" if account.holds else names[account.stage]
    until = account.valid_until.strftime("%Y%m%d") if account.valid_until else ""
    opens = oracle.access(account)
    dates = ":" if account.holds else f"{account.stage_since:%Y%m%d}:{until if opens else ''}"
    return {
        "supannRessourceEtat": {f"{{{what}}}{state}" for what in ("COMPTE", "MAIL")},
        "supannRessourceEtatDate": {f"{{{what}}}{state}:{dates}" for what in ("COMPTE", "MAIL")},
        "supannEtuDateFin": {f"{until}235959Z"} if until else set(),
        "sesameStage": {account.stage.value},
        "sesameHold": {hold.value for hold in account.holds},
        "sesameMailEnabled": {"TRUE" if opens else "FALSE"},
        "pwdAccountLockedTime": set() if opens else {_FOR_GOOD},
    }
