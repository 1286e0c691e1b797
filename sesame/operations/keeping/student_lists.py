"""Lists of students for other software: Pix Orga, timetables, esup-sgc."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, time
from typing import Final, Literal, NamedTuple

from consumers.kit.connector import MAIL_ROLE
from consumers.registry.identity import PRINCIPAL
from consumers.registry.ledger import SqlLedger
from consumers.registry.people import KnownPerson, People
from consumers.registry.teachings import HeldTeaching, held_among
from pipeline import accounts
from pipeline.errors import SesameError
from schemas.account import STUDENT, Account, Enrolment, Stage, is_students
from schemas.language import gettext
from sesame.acts.acts import OFFICE, OPERATORS, Actor, ActRequest, Report, act, shown, shown_one
from sesame.acts.ports import Configured, target_in_role
from sesame.operations.keeping import spreadsheet
from sesame.operations.people.known_persons import NoSuchStudent

ListName = Literal["pix", "groups"]

PIX: Final = (
    *("Premier prénom", "Deuxième prénom", "Troisième prénom", "Nom de famille", "Nom d'usage"),
    *("Date de naissance (jj/mm/aaaa)", "Email", "Numéro étudiant", "Composante", "Équipe pédagogique"),
    *("Groupe", "Diplôme", "Régime"),
)
"""The header of Pix Orga's import for universities, as it must be."""

GROUPS: Final = (
    *("numero_etudiant", "identifiant", "nom", "prenom", "courriel", "composante", "etape", "annee"),
    *("element", "groupe", "libelle"),
)
"""The header of the list of groups: ADE, Hyperplanning and Celcat are told which column is which."""

_PAGE: Final = 500
_CARD_AFFILIATION: Final = "etd"
"""The status of a student in esup-sgc (`referenceStatut`, of the Crous)."""


class NobodyListed(SesameError):
    """No student has an enrolment in force there. Check the component's code: it is as in the registrar's
    file."""

    exit_code = 2


class StudentListRequest(ActRequest):
    """Which list. `component`: of one component's students, by its code; None: of all."""

    list: ListName
    component: str | None = None


class ListFile(NamedTuple):
    """A list as a file's content (UTF-8, semicolons).

    Attributes:
        students: those in it.
        left_out: those who cannot be in it: Pix wants a first and a family name of each.
    """

    content: str
    students: tuple[str, ...]
    left_out: tuple[str, ...]


class CardHolder(Report):
    """A student in the words of esup-sgc's fields. Empty where nothing is known.

    `editable`: `true` while access is open: then a card may be asked for.
    """

    eppn: str
    supannEtuId: str  # noqa: N815 (the field's own name)
    supannCodeINE: str  # noqa: N815
    name: str
    firstname: str
    schacDateOfBirth: str  # noqa: N815
    email: str
    eduPersonPrimaryAffiliation: str  # noqa: N815
    supannEntiteAffectationPrincipale: str  # noqa: N815
    schacExpiryDate: str  # noqa: N815
    referenceStatut: str  # noqa: N815
    institute: str
    editable: str


class _Listed(NamedTuple):
    """A student to list.

    Attributes:
        main: the first enrolment in force.
        components: of all that are in force.
        mail: empty before there is a mailbox.
    """

    account: Account
    person: KnownPerson
    main: Enrolment
    components: frozenset[str]
    groups: tuple[HeldTeaching, ...]
    mail: str

    @property
    def number(self) -> str:
        return self.account.shown_number or self.account.student_number

    @property
    def login(self) -> str:
        """Empty before the activation: until then the login may still change."""
        return self.account.login if self.account.activated_at is not None else ""


@act(
    "export.list",
    OFFICE,
    shows=lambda found, asked: shown(found.students, list=asked.list, component=asked.component),
)
def student_list(site: Configured, _actor: Actor, request: StudentListRequest) -> ListFile:
    """List the students with an enrolment in force and an account, for other software.

    Raises:
        NobodyListed: there is no such student.
    """
    names, is_pix = site.settings.support.components, request.list == "pix"
    lines: list[tuple[str, ...]] = [PIX if is_pix else GROUPS]
    students, left_out, components = list[str](), list[str](), set[str]()
    for each in _listed(site):
        components |= each.components
        if request.component not in (None, *each.components):
            continue
        if is_pix and not (each.account.person.birth_name and each.account.person.given_name):
            left_out.append(each.number)
            continue
        lines += [_pix(each, names)] if is_pix else _groups(each, names)
        students.append(each.number)
    if not students and not left_out:
        listed = gettext("Components with students: {names}", names=", ".join(sorted(components)))
        raise NobodyListed(remedy=listed if components else "")
    content = "".join(spreadsheet.line(each, quoted=True) for each in lines)
    return ListFile(content, tuple(students), tuple(left_out))


@act("export.card", OPERATORS, shows=lambda found, _eppn: shown_one(found.supannEtuId))
def card_holder(site: Configured, _actor: Actor, eppn: str) -> CardHolder:
    """Give what esup-sgc asks of the holder of a principal name. Nothing is written.

    Raises:
        NoSuchStudent: no student's account has this principal name.
    """
    name = (PRINCIPAL, eppn.lower())
    with site.database.read() as connection:
        held = SqlLedger(connection, site.database, 0.0).holders([name]).get(name)
        number = (held.student_number if held is not None else None) or ""
        account = accounts.find(connection, number)
        person = People(site.database).known(connection, number)
    students = [] if account is None else [each for each in account.enrolments if each.population == STUDENT]
    if account is None or person is None or not (students or is_students(account.student_number)):
        raise NoSuchStudent(gettext("no student has the principal name {eppn!r}", eppn=eppn))
    last_days = [day for each in students if (day := site.settings.registry.ends_on(each)) is not None]
    until = max(last_days, default=account.valid_until)
    return CardHolder(
        eppn=account.principal,
        supannEtuId=account.shown_number or account.student_number,
        supannCodeINE=person.ine or "",
        name=account.person.family_name,
        firstname=account.person.shown_given_name,
        schacDateOfBirth=f"{person.identity.birth_date:%Y%m%d}",
        email=account.mail,
        eduPersonPrimaryAffiliation=STUDENT if students else next(iter(account.affiliations), ""),
        supannEntiteAffectationPrincipale=next(iter(account.entities), ""),
        schacExpiryDate="" if until is None else f"{datetime.combine(until, time(23, 59, 59)):%Y%m%d%H%M%SZ}",
        referenceStatut=_CARD_AFFILIATION,
        institute=site.settings.registry.principal_scope,
        editable="true" if account.access_open else "false",
    )


def _pix(each: _Listed, components: Mapping[str, str]) -> tuple[str, ...]:
    person, main = each.account.person, each.main
    groups = ", ".join(dict.fromkeys(taught.group for taught in each.groups))
    return (
        *(person.given_name, "", "", person.birth_name, person.usage_name or ""),
        *(f"{each.person.identity.birth_date:%d/%m/%Y}", each.mail, each.number),
        *(components.get(main.component, main.component), "", groups, main.step_label, ""),
    )


def _groups(each: _Listed, components: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    person, main = each.account.person, each.main
    for taught in each.groups:
        yield (
            *(each.number, each.login, person.family_name, person.shown_given_name),
            *(each.mail, components.get(main.component, main.component), main.step, str(taught.year)),
            *(taught.element, taught.group, taught.label),
        )


def _listed(site: Configured) -> Iterator[_Listed]:
    """The students, by number. A number that was merged into another one has no enrolment."""
    known, mailbox = People(site.database), target_in_role(site.settings, MAIL_ROLE)
    for page in accounts.number_pages(site.database, accounts.accounts.c.stage != Stage.ERASED, size=_PAGE):
        with site.database.read() as connection:
            found = accounts.newest(connection, page)
            persons = known.known_among(connection, page)
            taught = held_among(connection, known.owners(connection, page))
        for number in page:
            account, person = found.get(number), persons.get(number)
            if account is None or person is None:
                continue
            students = (each for each in account.enrolments if each.population == STUDENT)
            in_force = [enrolment for enrolment in students if enrolment.in_force]
            if not in_force:
                continue
            years = {each.year for each in in_force}
            groups = tuple(each for each in taught.get(number, ()) if each.group and each.year in years)
            has_mail = account.activated_at is not None and not account.at(mailbox).lacks_target
            of = frozenset(each.component for each in in_force)
            yield _Listed(account, person, in_force[0], of, groups, account.mail if has_mail else "")
