"""A university before Sésame: its people at the registrar, directory and Moodle.

All are as they should be but for planted conflicts, each of one kind and on another student. The same size
gives the same people.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import cycle, islice

from examples.generate import COLUMNS
from sesame.operations.questions.adoption.questions import QuestionKind

DOMAIN = "univ-exemple.fr"
FIRST_NUMBER = 22_000_000
_BORN_FROM = date(1960, 1, 1)
_FAMILIES = (
    "Lefevre",
    "Garnier",
    "Moreau",
    "Petit",
    "Roussel",
    "Benali",
    "Nguyen",
    "Faure",
    "Chevalier",
    "Diallo",
)
_GIVEN = ("Zoe", "Noe", "Camille", "Hugo", "Lea", "Younes", "Ines", "Paul", "Awa", "Jeanne")

Expected = tuple[str, str, str]
"""A question of an adoption: target, kind, student number (empty: unknown)."""

PLANTED = (
    ("directory", QuestionKind.NAMES_AND_BIRTH_DATE),
    ("directory", QuestionKind.NUMBER_TWICE),
    ("moodle", QuestionKind.NUMBER_TWICE),
    ("directory", QuestionKind.SEVERAL_NUMBERS),
    ("directory", QuestionKind.NUMBER_OF_OTHER),
    ("moodle", QuestionKind.LOGIN_SHARED),
    ("moodle", QuestionKind.LOGIN_DIFFERS),
    ("moodle", QuestionKind.USERNAME_CASE),
    ("moodle", QuestionKind.MAIL_SHARED),
    ("moodle", QuestionKind.MAIL_DIFFERS),
    ("moodle", QuestionKind.IDNUMBER_EMPTY),
    ("moodle", QuestionKind.IDNUMBER_OTHER),
    ("directory", QuestionKind.LEDGER_OTHER),
)
"""The kinds that are planted, in turn."""


@dataclass
class Entry:
    """A directory entry; `numbers` are values of supannEtuId."""

    uid: str
    family: str
    given: str
    mail: str
    affiliation: str
    numbers: list[str] = field(default_factory=list)
    ine: str = ""
    birth: str = ""
    alias: str = ""
    mailbox: bool = True


@dataclass
class MoodleUser:
    """A row of Moodle's user table."""

    username: str
    family: str
    given: str
    email: str
    idnumber: str
    auth: str = "cas"


@dataclass
class Population:
    """All its people.

    Attributes:
        rows: of the registrar's file.
        entries: of the directory, by uid.
        users: of Moodle, by username.
        minted: the student to whom the registry gave another one's login, by that login.
        expected: the planted questions.
        by_ine: students whose entry has no number, but the INE.
    """

    rows: list[dict[str, str]] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    users: dict[str, MoodleUser] = field(default_factory=dict)
    minted: dict[str, str] = field(default_factory=dict)
    expected: list[Expected] = field(default_factory=list)
    by_ine: list[str] = field(default_factory=list)
    logins: dict[str, str] = field(default_factory=dict)

    def ldif(self, people_dn: str) -> Iterator[str]:
        """The entries, one by one, as slapadd takes them."""
        for entry in self.entries.values():
            yield _ldif(entry, people_dn)


def population(size: int, conflicts: int) -> Population:
    """Make so many directory entries, and so many planted conflicts among them.

    Args:
        size: entries before the conflicts add theirs.
        conflicts: about a tenth of the students at most.
    """
    made = Population()
    for index in range(size):
        _PEOPLE[index % len(_PEOPLE)](made, index)
    plain = [n for n in made.logins if n not in made.by_ine]
    newcomers = [row["COD_ETU"] for row in made.rows if row["COD_ETU"] not in made.logins]
    chosen, others = iter(plain[::4]), iter(plain[2::4])
    for target, kind in islice(cycle(PLANTED), conflicts):
        student = next(chosen)
        _plant(made, (target, kind), student, next(others), newcomers)
        made.expected.append((target, kind, "" if kind is QuestionKind.SEVERAL_NUMBERS else student))
    return made


# --- people -------------------------------------------------------------------------------------------


def _names(index: int) -> tuple[str, str]:
    return _FAMILIES[index % len(_FAMILIES)], _GIVEN[index // len(_FAMILIES) % len(_GIVEN)]


def _born(index: int) -> date:
    return _BORN_FROM + timedelta(days=index)  # no two share names and birth date by chance


def _entry(index: int, affiliation: str) -> Entry:
    family, given = _names(index)
    uid = f"{given[0]}{family}{index}".lower()
    mail = f"{given}.{family}{index}@{DOMAIN}".lower()
    return Entry(uid, family, given, mail, affiliation)


def _row(index: int) -> dict[str, str]:
    family, given = _names(index)
    values = (
        *(str(FIRST_NUMBER + index), f"{index:09d}AA", family, "", given, _born(index).strftime("%d/%m/%Y")),
        *("", "2026", "L1INFO", "261", "SCI", "Licence 1 Informatique", "O", "E", "P", "O"),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _user(entry: Entry, idnumber: str, auth: str = "cas") -> MoodleUser:
    return MoodleUser(entry.uid, entry.family, entry.given, entry.mail, idnumber, auth)


def _student(made: Population, index: int) -> None:
    """A usual student: in the registrar's file, directory, mail server and Moodle."""
    row, entry = _row(index), _entry(index, "student")
    number = row["COD_ETU"]
    entry.numbers, entry.alias = [number], f"{entry.uid}@{DOMAIN}"
    if index % 2:
        entry.ine = row["COD_NNE_IND"]
    made.rows.append(row)
    made.entries[entry.uid], made.logins[number] = entry, entry.uid
    made.users[entry.uid] = _user(entry, number)


def _known_by_ine(made: Population, index: int) -> None:
    """A student whose entry has no student number, but the INE."""
    _student(made, index)
    number = str(FIRST_NUMBER + index)
    entry = made.entries[made.logins[number]]
    entry.numbers, entry.ine = [], made.rows[-1]["COD_NNE_IND"]
    made.by_ine.append(number)


def _newcomer(made: Population, index: int) -> None:
    """A student known to the registrar's file only, and a member of staff."""
    made.rows.append(_row(index))
    _staff(made, index)


def _staff(made: Population, index: int) -> None:
    """A member of staff, in Moodle as a teacher."""
    entry = _entry(index, "staff")
    entry.uid = f"staff.{entry.uid}"
    entry.family, entry.given = "Personnel", f"Agent{index}"
    made.entries[entry.uid] = entry
    made.users[entry.uid] = _user(entry, "")


def _doctoral(made: Population, index: int) -> None:
    """A doctoral student, paid, and in no file of the registrar's."""
    _staff(made, index)


def _alumna(made: Population, index: int) -> None:
    """A former student, whose number the registrar's file has no more."""
    entry = _entry(index, "alum")
    entry.numbers, entry.mailbox = [f"1{FIRST_NUMBER + index}"], False
    made.entries[entry.uid] = entry
    made.users[entry.uid] = _user(entry, entry.numbers[0], auth="manual")


_PEOPLE = (*[_student] * 14, _known_by_ine, _newcomer, _staff, _doctoral, _alumna, _alumna)
"""One of twenty each: how the population is made up."""


# --- conflicts ----------------------------------------------------------------------------------------


def _plant(  # noqa: C901, PLR0912  (one case for each kind: a table in the form of a match)
    made: Population, what: tuple[str, QuestionKind], student: str, other: str, newcomers: list[str]
) -> None:
    entry, user = made.entries[made.logins[student]], made.users[made.logins[student]]
    index = int(student) - FIRST_NUMBER
    match what:
        case _, QuestionKind.NAMES_AND_BIRTH_DATE:
            entry.numbers, entry.ine, entry.birth, entry.mailbox = [], "", _born(index).isoformat(), False
            del made.users[entry.uid]
        case "directory", QuestionKind.NUMBER_TWICE:
            twin = Entry(
                f"bis.{entry.uid}", entry.family, entry.given, f"bis.{entry.mail}", "student", [student]
            )
            twin.mailbox = False
            made.entries[twin.uid] = twin
        case _, QuestionKind.NUMBER_TWICE:
            made.users[f"bis.{user.username}"] = MoodleUser(
                f"bis.{user.username}", user.family, user.given, f"bis.{user.email}", student
            )
        case _, QuestionKind.SEVERAL_NUMBERS:
            entry.numbers, entry.mailbox = [student, f"9{student}"], False
        case _, QuestionKind.NUMBER_OF_OTHER:
            entry.family, entry.given, entry.ine = "Brzozowski", "Wojtek", ""
        case _, QuestionKind.LOGIN_SHARED:
            del made.users[made.logins[other]], made.users[user.username]
            user.username = made.logins[other]
            made.users[user.username] = user
        case _, QuestionKind.LOGIN_DIFFERS:
            user.username = f"ancien.{user.username}"
        case _, QuestionKind.USERNAME_CASE:
            user.username = user.username.upper()
        case _, QuestionKind.MAIL_SHARED:
            user.email = made.entries[made.logins[other]].mail
            del made.users[made.logins[other]]
        case _, QuestionKind.MAIL_DIFFERS:
            user.email = f"perso{index}@courriel.example"
        case _, QuestionKind.IDNUMBER_EMPTY:
            user.idnumber = ""
        case _, QuestionKind.IDNUMBER_OTHER:
            user.idnumber = f"ANCIEN-{index}"
        case _, QuestionKind.LEDGER_OTHER:
            made.minted[entry.uid] = newcomers.pop()


def _ldif(entry: Entry, people_dn: str) -> str:
    values = [
        ("uid", entry.uid),
        ("cn", f"{entry.family} {entry.given}"),
        ("sn", entry.family),
        ("givenName", entry.given),
        ("mail", entry.mail),
        ("eduPersonAffiliation", entry.affiliation),
        *(("supannEtuId", number) for number in entry.numbers),
        *([("supannCodeINE", entry.ine)] if entry.ine else []),
        *([("supannOIDCDateDeNaissance", entry.birth)] if entry.birth else []),
        *([("supannAutreMail", entry.alias)] if entry.alias else []),
        ("sesameMailEnabled", "TRUE" if entry.mailbox else "FALSE"),
    ]
    classes = ("inetOrgPerson", "eduPerson", "supannPerson", "sesameAccount")
    lines = [f"dn: uid={entry.uid},{people_dn}", *(f"objectClass: {name}" for name in classes)]
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in values)]) + "\n\n"
