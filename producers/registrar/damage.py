"""Detect text damaged before the import, and its likely right reading.

A name becomes a login, permanently; so names are checked for traces of wrong encodings, spreadsheets,
databases and web forms. Damage is doubted, not corrected: an operator may accept it.

A reading is computed where the damage can be undone (UTF-8 read as something else, one encoding read as
another, HTML's and URLs' escapes). Where letters are lost, their places are reported, with the one frequent
given name that fits, if there is one.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from urllib.parse import unquote

from producers.registrar.encodings import STRAY, Damage, misread
from producers.registrar.faults import Fault
from producers.registrar.profile import FeedProfile, Problem
from schemas.language import gettext, gettext_noop, ngettext


@lru_cache(maxsize=16_384)
def damage(text: str) -> Damage | None:
    """The visible damage of a name; None: none."""
    if text.isascii() and not _SUSPECT.search(text):
        return _no_value(text)
    for look in (_no_value, misread, _escaped, _lost, _invisible, _stray):
        if (found := look(text)) is not None:
            return found
    return None


def damage_of_address(address: str) -> Damage | None:
    """The visible damage of a mail address; None: none."""
    if address.isascii() and "?" not in address:  # nearly all of them
        return None
    local, _, domain = address.rpartition("@")
    found = next(filter(None, (look(local) for look in (misread, _lost, _invisible, _stray))), None)
    return found or misread(domain)


def is_no_value(text: str) -> bool:
    """True for a database's or spreadsheet's word for a missing or wrong value."""
    return text.casefold() in _NO_VALUES or text == "NaN" or bool(_SHEET_ERROR.fullmatch(text))


def likely_encoding(values: Iterable[str]) -> str:
    """The encoding that most of these damaged values seem to be in, or empty."""
    found = Counter(each.encoding for value in values if (each := damage(value)) is not None)
    return found.most_common(1)[0][0] if found else ""


# --- a word for no value ----------------------------------------------------------------------------

_NO_VALUES = frozenset(  # without nil, na and nan, which are names
    """
    null (null) <null> [null] \\n none <none> (none) <nil> undefined n/a n.a. n/d n/c
    """.split()  # noqa: SIM905 -- a list of words
)
_SHEET_ERROR = re.compile(r"#[A-ZÀ-Ü]+(?:/[A-Z0-9]+)?[!?]?", re.IGNORECASE)


def _no_value(text: str) -> Damage | None:
    if not is_no_value(text):
        return None
    return Damage(
        gettext_noop("{value} stands for a value that is missing; did you mean an empty field?"), text
    )


# --- escapes of other formats -----------------------------------------------------------------------


def _of_code(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return chr(code) if code < 0xD800 else found[0]  # noqa: PLR2004


def _of_bytes(found: re.Match[str]) -> str:
    escaped = found[0].replace("=", "%")
    try:
        return unquote(escaped, errors="strict")
    except UnicodeDecodeError:
        return unquote(escaped, encoding="cp1252", errors="replace")


_ESCAPES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]+);"), lambda found: html.unescape(found[0])),
    (re.compile(r"(?:[%=][89A-F][0-9A-F])+"), _of_bytes),
    (re.compile(r"\\(?:u|x(?=[89a-f]))([0-9a-f]{4}|(?<=x)[0-9a-f]{2})", re.IGNORECASE), _of_code),
    (re.compile(r"<U\+([0-9A-F]{4})>"), _of_code),
)


def _escaped(text: str) -> Damage | None:
    right = text
    for pattern, meant in _ESCAPES:
        right = pattern.sub(meant, right)
    if right == text:
        return None
    return Damage(gettext_noop("a letter is written as another format's code; did you mean {value}?"), right)


# --- letters that are lost --------------------------------------------------------------------------

_ACCENTED = frozenset(
    """
    Adèle Adélaïde Agnès Aimé Aliénor Amélie Anaë Anaël Anaïs André Angèle Angélique Aurélie
    Aurélien Azélie Aïcha Aïssa Benoît Béatrice Bénédicte Bérangère Bérénice Chloé Cloé Cléa Clélia
    Clémence Clément Clémentine Cécile Céleste Célestin Célia Célie Céline Côme Daphné Désiré
    Désirée Florèle François Françoise Frédéric Frédérique Félicie Félicité Félix Gaël Gaëlle Gaëtan
    Geneviève Grégoire Grégory Gérald Géraldine Gérard Hervé Honoré Hédi Héloïse Hélène Inès Irène
    Isaïe Josée Joséphine Joël Joëlle Jérémie Jérémy Jérôme Kévin Laëtitia Loïc Loïs Léa Léana
    Léandre Léna Léo Léon Léonard Léonie Léonore Lévi Marlène Mathéo Mathéïs Maël Maëlie Maëlle
    Maëlys Maëva Michaël Michèle Mickaël Moïse Mylène Mélanie Mélina Mélissa Mélodie Nathanaël Naël
    Naïm Naïma Noé Noélie Noémie Noël Océane Ophélie Pénélope Raphaël Raphaëlle René Renée Roméo
    Régine Régis Rémi Rémy Salomé Solène Stéphane Stéphanie Sylvère Sébastien Ségolène Séverine Théa
    Théo Théodore Théophile Thérèse Timothée Timéo Valère Valérie Véronique Yaël Yoël Zaïd Zoé Zélie
    Ève Élea Élias Élie Éline Élisa Élisabeth Élise Élodie Élouan Éloïse Éléa Éléna Éléonore Émeline
    Émile Émilie Émilien Énora Éric Étienne Évelyne
    """.split()  # noqa: SIM905 -- a list of words
)
"""Frequent given names with an accent, to complete names that have lost letters."""

_LOST = re.compile("[?\ufffd]+")


def _lost(text: str) -> Damage | None:
    found = list(_LOST.finditer(text))
    if not found:
        return None
    places = ", ".join(str(place + 1) for each in found for place in range(*each.span()))
    pattern = "".join(
        f"[^\\x00-\\x7f]{{1,{len(part)}}}" if _LOST.fullmatch(part) else re.escape(part)
        for part in re.split("([?\ufffd]+)", text)
    )
    fitting = {name for name in _ACCENTED if re.fullmatch(pattern, name, re.IGNORECASE)}
    if len(fitting) != 1:
        return Damage(gettext_noop("letters are lost, in place {places}"), places=places)
    lost = gettext_noop("letters are lost, in place {places}; did you mean {value}?")
    return Damage(lost, fitting.pop(), places=places)


# --- invisible characters, and those that no name has -----------------------------------------------

_JOINERS = "\u200c\u200d"  # which some scripts need


def _invisible(text: str) -> Damage | None:
    def unseen(char: str) -> bool:
        return unicodedata.category(char) in ("Cf", "Co") and char not in _JOINERS

    if not any(map(unseen, text)):
        return None
    right = "".join(char for char in text if not unseen(char))
    return Damage(gettext_noop("an invisible character stands in it; did you mean {value}?"), right)


def _stray(text: str) -> Damage | None:
    found = STRAY.search(text)
    if found is None:
        return None
    return Damage(gettext_noop("{value} stands beside a letter: read in a wrong encoding"), found[0])


_SUSPECT = re.compile(r"[?&%=\\<]")
"""An ASCII text without these is not checked further."""


_BLANKS = " \u00a0\u202f"  # of thousands: also the no-break and the narrow one
_GROUPED = re.compile(rf"[0-9]{{1,3}}(?:[{_BLANKS}][0-9]{{3}})+")
_DECIMAL = re.compile(r"([0-9]{2,})[.,]0{1,2}")
_SCIENTIFIC = re.compile(r"([0-9])(?:[.,]([0-9]*))?[Ee]([+-]?)([0-9]{1,3})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*")
_SO_MANY_DIGITS = re.compile(r"\^?(?:\[0-9\]|\\d)\{(?P<n>[0-9]{1,3})\}\$?")
_TEXT_FORMULA = re.compile(r'="([^"]*)"')


def whole_number(text: str) -> str | None:
    """The whole number in a spreadsheet's form; any other text as it is. None: digits are lost."""
    if text.isdigit():
        return text
    if _GROUPED.fullmatch(text):
        return re.sub(f"[{_BLANKS}]", "", text)
    if found := _DECIMAL.fullmatch(text):
        return found[1]
    if found := _SCIENTIFIC.fullmatch(text):
        first, decimals, sign, exponent = found[1], found[2] or "", found[3], int(found[4])
        exact = sign != "-" and len(decimals) >= exponent > 0 and not decimals[exponent:].strip("0")
        return first + decimals[:exponent] if exact else None
    return None if _DATE.fullmatch(text) else text


def unwrapped(cell: str) -> str:
    """The text in a formula that only keeps it a text: `="00123"`."""
    found = _TEXT_FORMULA.fullmatch(cell)
    return found[1].strip() if found else cell


def write_whole(fields: dict[str, str], profile: FeedProfile) -> Iterable[Problem]:
    """Rewrite student number (unless in the site's form) and year as whole numbers. Yield impossible ones."""
    for field, fault, form in (
        ("student_number", Fault.BAD_STUDENT_NUMBER, profile.student_number),
        ("year", Fault.BAD_YEAR, ""),
    ):
        text = fields.get(field)
        if not text or (re.fullmatch(form, text) if form else text.isdigit()):
            continue
        number = whole_number(text)
        if number is None:
            lost = gettext("a number rewritten by a spreadsheet, which has lost digits of it")
            yield field, Fault.LOST_DIGITS, text, lost
        elif form and not re.fullmatch(form, number):
            yield field, fault, text, _not_of(form)
        else:
            fields[field] = number


def _not_of(form: str) -> str:
    """Say that a student number lacks the site's form; name its digits if that is all."""
    if found := _SO_MANY_DIGITS.fullmatch(form):
        return ngettext(
            "not of this site's form: {n} digit", "not of this site's form: {n} digits", int(found["n"])
        )
    return gettext("not of the form that this site's student numbers have")
