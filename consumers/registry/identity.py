"""Mint a login, a mail address and a principal name from the registrar's names.

The rules, in the order in which they apply to a name:

1. An apostrophe of any kind disappears with the blanks around it (d'Arc: darc, O' Connor: oconnor). Then
   Unicode NFKC: a hyphen or dash of any kind is a hyphen, other punctuation is a blank; symbols, and marks
   that compose with no letter, disappear.
2. Transliteration to ASCII from any script (anyascii: ß gives ss, œ oe, đ d), lower case, and nothing kept
   but a-z, 0-9, blank and hyphen.
3. In a family name, particles are glued to the word that follows (de la Tour: delatour, Ben Ali: benali); one
   that ends the name stays a word. Hyphens stay as the registrar wrote them (Ben-Ali: ben-ali).
4. Remaining blanks are hyphens (Martin Dupont: martin-dupont).

The family name is the usage name if there is one, the given name the preferred one if there is one. A change
of name keeps the login, which the ledger already holds for this student number; the mail address may follow
it (`renamed`). A name of which nothing is left (emoji) is left out; when nothing remains at all, the student
number is the login. The first of several homonyms gets the plain name, the next ones a counter from 2 on
(after a hyphen if the name ends in a digit). A login that is too long loses the last parts of its longest
name, then its last letters.

The alphabet (a-z 0-9 . _ -, first and last alphanumeric) is accepted by Moodle's usernames, POSIX, LDAP's uid
and a mail's dot-string (RFC 5321, 4.1.2) alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, Protocol

from anyascii import anyascii

from consumers.registry.people import Names
from consumers.registry.settings import RegistrySettings, template_fields
from pipeline.errors import meaning
from pipeline.facts import Rejected
from schemas.account import Person

LOGIN, SHORT_LOGIN, MAIL, PRINCIPAL = "login", "short_login", "mail", "principal"
LOCAL_PART_MAX = 64  # RFC 5321, 4.5.3.1.1
SHORT_LOGIN_MAX = 20  # [MS-ADA3] 2.222: a user's sAMAccountName

_APOSTROPHES = (
    "'`"
    "\u00b4\u2018\u2019\u201b"  # acute accent, single quotation marks
    "\u02b9\u02bb\u02bc\u02bd\u02be\u02bf"  # modifier letters: prime, okina, apostrophe, hamza, ayn
    "\u2032\uff07\u055a\ua78c"  # prime, full-width, Armenian, saltillo
)
_APOSTROPHE = re.compile(rf"\s*[{_APOSTROPHES}]\s*")
_NOT_OURS = re.compile(r"[^a-z0-9 -]")
_SEPARATORS = re.compile(r"[._-]{2,}")
PARTICLES: Final = frozenset(
    (
        *("d", "de", "des", "du", "l", "la", "le", "les"),  # French
        *("da", "das", "del", "della", "dei", "di", "do", "dos", "lo"),  # Italian, Portuguese, Spanish
        *("den", "der", "dem", "ten", "ter", "van", "von", "zu", "zum", "zur", "af", "av"),  # Germanic
        *("mac", "mc", "o"),  # Gaelic
        *("abou", "abu", "ait", "al", "bel", "ben", "bin", "bint", "el", "ibn", "ould"),  # Arabic, Berber
    )
)
"""Words of a family name that are glued to the next one: 'de la Tour' gives delatour."""
HOMONYMS_MAX: Final = 1000
"""The highest counter of a name: a template that gives a thousand people one name is wrong."""
_SHORTENED = ("given", "family", "birth_family")


class NamesExhausted(Rejected):
    """Every login or address up to the highest counter, 1000, is taken. Choose a template that tells homonyms
    apart better; then replay."""

    def __init__(self) -> None:
        super().__init__("names_exhausted", meaning(type(self)))


class Ledger(Protocol):
    """Permanent holders of names. Bound to the caller's transaction."""

    def held_by(self, student_number: str) -> Mapping[str, str]:
        """By kind, the first name that this student was given."""

    def claim(self, names: Mapping[str, str], student_number: str) -> bool:
        """Take all these names (by kind) for this student, or none if one is taken."""


def mint(person: Person, student_number: str, settings: RegistrySettings, ledger: Ledger) -> Names:
    """This student's names: those in the ledger, and new ones for the missing kinds.

    A mail or principal template that contains {login} shares the login's counter, so that they agree.

    Raises:
        NamesExhausted: no counter up to `HOMONYMS_MAX` is free.
    """
    held = dict(ledger.held_by(student_number))
    if held.keys() >= {LOGIN, MAIL, PRINCIPAL}:
        return Names(held[LOGIN], held[MAIL], held[PRINCIPAL])
    template = Templates(person, student_number, settings)

    def claim_first(kinds: tuple[str, ...]) -> None:
        for counter in range(1, HOMONYMS_MAX + 1):
            login = held.get(LOGIN) or template.login(counter)
            # With a new login the addresses take its counter; otherwise they have their own.
            own = counter if LOGIN not in kinds else 1
            names = {kind: login if kind == LOGIN else template.address(kind, login, own) for kind in kinds}
            if not _reserved(names.values(), settings) and ledger.claim(names, student_number):
                held.update(names)
                return
        raise NamesExhausted

    if LOGIN not in held:
        claim_first((LOGIN, *(kind for kind in template.made_of_login() if kind not in held)))
    for kind in (MAIL, PRINCIPAL):
        if kind not in held:
            claim_first((kind,))
    return Names(held[LOGIN], held[MAIL], held[PRINCIPAL])


def every_name(person: Person, student_number: str, settings: RegistrySettings) -> Iterator[tuple[str, str]]:
    """Every name that a person may have been given, by kind. For recognition."""
    template = Templates(person, student_number, settings)
    for counter in range(1, HOMONYMS_MAX + 1):
        login = template.login(counter)
        yield LOGIN, login
        for kind in (MAIL, PRINCIPAL):
            yield kind, template.address(kind, login)
            if counter > 1:
                yield kind, template.address(kind, login, counter)


def short_login(login: str, student_number: str, settings: RegistrySettings, ledger: Ledger) -> str | None:
    """A login of at most 20 characters for a longer one; None: none is needed.

    It is the login's beginning, with a counter from 2 on if that is taken. No other student ever gets it as a
    login.

    Raises:
        NamesExhausted: no counter up to `HOMONYMS_MAX` is free.
    """
    if len(login) <= SHORT_LOGIN_MAX:
        return None
    held = ledger.held_by(student_number).get(SHORT_LOGIN)
    for counter in range(1, HOMONYMS_MAX + 1) if held is None else ():
        short = _numbered("{login}", {LOGIN: login}, SHORT_LOGIN_MAX, counter)
        names = {LOGIN: short, SHORT_LOGIN: short}
        if not _reserved(names.values(), settings) and ledger.claim(names, student_number):
            return short
    if held is None:
        raise NamesExhausted
    return held


def renamed(
    names: Names,
    before: Person,
    after: Person,
    student_number: str,
    settings: RegistrySettings,
    ledger: Ledger,
) -> Names:
    """The names after a change of the shown name; only the mail address may change.

    The settings say whether it does. The ledger keeps the previous address, which stays an alias. A return to
    a former name gives the former address back. The login that the new name would have given is taken too if
    the address is made of it: on another student it would confuse. The principal name never changes: services
    know people by it.

    Raises:
        NamesExhausted: no counter up to `HOMONYMS_MAX` is free.
    """
    if settings.rename == "keep" or before == after:
        return names
    old, new = Templates(before, student_number, settings), Templates(after, student_number, settings)
    if old.address(MAIL, old.login()) == new.address(MAIL, new.login()):
        return names
    of_login = MAIL in new.made_of_login()
    for counter in range(1, HOMONYMS_MAX + 1):
        login = new.login(counter)
        wanted = {MAIL: new.address(MAIL, login, 1 if of_login else counter)}
        wanted |= {LOGIN: login} if of_login else {}
        if not _reserved(wanted.values(), settings) and ledger.claim(wanted, student_number):
            return names._replace(mail=wanted[MAIL])
    raise NamesExhausted


class Templates:
    """One person's names by the templates, taken or not. Pure. `counter`: from 1, for homonyms."""

    def __init__(self, person: Person, student_number: str, settings: RegistrySettings) -> None:
        self._settings = settings
        self._fields = name_fields(person, student_number, PARTICLES)
        self._addresses = {MAIL: settings.mail_template, PRINCIPAL: settings.principal_template}

    def made_of_login(self) -> tuple[str, ...]:
        """The kinds of address whose template contains the login."""
        return tuple(kind for kind, text in self._addresses.items() if LOGIN in template_fields(text))

    def login(self, counter: int = 1) -> str:
        """The login."""
        settings = self._settings
        return _numbered(settings.login_template, self._fields, settings.login_length_max, counter)

    def address(self, kind: str, login: str, counter: int = 1) -> str:
        """The mail address (`kind` MAIL) or principal name (PRINCIPAL) for this login."""
        local, _, domain = self._addresses[kind].partition("@")
        name = _numbered(local, {**self._fields, LOGIN: login}, LOCAL_PART_MAX, counter)
        settings = self._settings
        return f"{name}@{domain.format(domain=settings.mail_domain, scope=settings.principal_scope)}"


def name_fields(person: Person, student_number: str, particles: frozenset[str]) -> dict[str, str]:
    """The fields of templates, in the login's alphabet."""
    given = ascii_word(person.shown_given_name)
    family = ascii_word(person.family_name, particles)
    return {
        "given": given,
        "family": family,
        "birth_family": ascii_word(person.birth_name, particles),
        "given_initial": given[:1],
        "given_initials": "".join(part[0] for part in given.split("-") if part),
        "family_initial": family[:1],
        "student_number": student_number.lower(),
    }


@lru_cache(maxsize=4096)  # first names are few, and each name is asked for by its fingerprint too
def ascii_word(name: str, particles: frozenset[str] = frozenset()) -> str:
    """A name in a-z, 0-9 and single inner hyphens; empty if nothing is left of it.

    Args:
        name: as the registrar wrote it, in any script.
        particles: words that are glued to the next one.
    """
    text = unicodedata.normalize("NFKC", _APOSTROPHE.sub("", name))
    text = anyascii("".join(map(_kept, text))).lower()
    words: list[str] = []
    glued = ""
    for raw in _NOT_OURS.sub("", text).split():
        word = re.sub("-{2,}", "-", raw).strip("-")
        if word in particles:
            glued += word
        elif word:
            words.append(glued + word)
            glued = ""
    return "-".join([*words, glued] if glued else words)


@lru_cache(maxsize=1024)
def _kept(char: str) -> str:
    """A character before transliteration. That would spell symbols out (':grinning:')."""
    category = unicodedata.category(char)
    if category == "Pd" or char == "\N{MINUS SIGN}":
        return "-"
    if unicodedata.name(char, "").startswith("COMBINING "):
        return ""  # diacritics that compose with nothing; a script's own vowel signs have other names
    if category[0] in "LMN":
        return char
    return "" if category[0] == "S" or category == "Cf" or char == "\N{MIDDLE DOT}" else " "


def _reserved(values: Iterable[str], settings: RegistrySettings) -> bool:
    return any(value.partition("@")[0] in settings.reserved_names for value in values)


def _numbered(template: str, fields: Mapping[str, str], length_max: int, counter: int) -> str:
    """The rendered template with its counter, within the limit."""
    whole = base = _fitted(template, fields, length_max)
    if counter == 1:
        return whole
    if len(whole) + len(f"-{counter}") > length_max:
        base = _fitted(template, fields, length_max - len(f"-{counter}"))
    # The name's digits, cut off or not, must not run into the counter's.
    return f"{base}-{counter}" if whole[-1].isdigit() or base[-1].isdigit() else f"{base}{counter}"


def _fitted(template: str, fields: Mapping[str, str], length_max: int) -> str:
    """The rendered template, cut to its limit: longest names first."""
    shortened = dict(fields)
    used = [name for name in _SHORTENED if name in template_fields(template)]
    text = _rendered(template, shortened)
    while len(text) > length_max and any(len(shortened[name]) > 1 for name in used):
        longest = max(used, key=lambda name: len(shortened[name]))
        whole = shortened[longest]
        shortened[longest] = whole.rpartition("-")[0] or whole[:-1]
        text = _rendered(template, shortened)
    return text[:length_max].rstrip("._-")


def _rendered(template: str, fields: Mapping[str, str]) -> str:
    """The template filled in; the student number if the names leave nothing.

    Separators are neither doubled nor at an end, so that a missing given name leaves no dot behind.
    """
    names = template_fields(template)
    filled = {name: fields[name] for name in names}
    text = template.format(**filled) if any(filled.values()) else fields["student_number"]
    return _SEPARATORS.sub(lambda run: "." if "." in run[0] else run[0][0], text).strip("._-")
