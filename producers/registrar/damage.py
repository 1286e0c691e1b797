"""Text that was damaged before it came here, and its likely right reading.

A name becomes a login, which is for ever; so a name is looked at for what wrong encodings, spreadsheets,
databases and web forms leave behind. What is found is doubted, not corrected: an operator may accept it.

A reading is computed where the damage can be undone (UTF-8 read as something else, one encoding read as
another, HTML's and URLs' escapes). Where letters are lost, their places are told, and the one frequent given
name that fits, if there is one.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from producers.registrar.given_names import ACCENTED

UTF8, WINDOWS, MAC, DOS, TWICE = "utf-8", "windows-1252", "mac-roman", "cp850", "utf-8-twice"


class Damage(NamedTuple):
    """What is wrong with a text.

    Attributes:
        what: for people, with the likely right reading if there is one.
        encoding: what the text seems to be in, if it was read in a wrong encoding.
    """

    what: str
    encoding: str = ""


@lru_cache(maxsize=16_384)
def damage(text: str) -> Damage | None:
    """What is wrong with a name; None: nothing that can be seen."""
    if text.isascii() and not _SUSPECT.search(text):
        return _no_value(text)
    for look in (_no_value, _misread, _escaped, _lost, _invisible, _stray):
        if (found := look(text)) is not None:
            return found
    return None


def damage_of_address(address: str) -> Damage | None:
    """What is wrong with a mail address; None: nothing that can be seen."""
    if address.isascii() and "?" not in address:  # nearly all of them
        return None
    local, _, domain = address.rpartition("@")
    found = next(filter(None, (look(local) for look in (_misread, _lost, _invisible, _stray))), None)
    return found or _misread(domain)


def is_no_value(text: str) -> bool:
    """Whether this is a database's or a spreadsheet's word for a value that is missing or wrong."""
    return text.casefold() in _NO_VALUES or text == "NaN" or bool(_SHEET_ERROR.fullmatch(text))


def likely_encoding(values: Iterable[str]) -> str:
    """The encoding that most of these damaged values seem to be in; empty: none."""
    found = Counter(each.encoding for value in values if (each := damage(value)) is not None)
    return found.most_common(1)[0][0] if found else ""


def repairing(likely: str, encoding: str) -> str:
    """The encoding in which a file is to be read instead; empty: none sets it right.

    Args:
        likely: what its damaged values seem to be in; see `likely_encoding`.
        encoding: in which it was read.
    """
    if likely == TWICE:  # unless it was the reading here that was wrong
        return TWICE if encoding.startswith(UTF8) else UTF8
    if likely in (MAC, DOS):
        return likely if encoding == WINDOWS else ""
    return WINDOWS if likely == WINDOWS and encoding in (MAC, DOS) else ""


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
    return Damage(f"{text} stands for a value that is missing; did you mean an empty field?")


# --- read in a wrong encoding -----------------------------------------------------------------------

View = Mapping[str, int]
"""How the characters that an encoding shows stand for bytes from 0x80 on."""


def _view(encoding: str) -> dict[str, int]:
    shown = {}
    for byte in range(0x80, 0x100):
        try:
            shown[bytes([byte]).decode(encoding)] = byte
        except UnicodeDecodeError:
            continue
    return shown


def _windows_view() -> dict[str, int]:
    """Windows-1252 as software reads it: what it leaves out are Latin-1's control characters, or here bytes
    that could not be decoded."""
    shown = {chr(byte): byte for byte in range(0x80, 0x100)}
    shown |= {chr(0xDC00 + byte): byte for byte in range(0x80, 0x100)}
    return shown | _view("cp1252")


_VIEWS: Mapping[str, View] = {WINDOWS: _windows_view(), MAC: _view("mac_roman"), DOS: _view("cp850")}


def _runs(view: View, *leads: int) -> re.Pattern[str]:
    """Sequences of characters that are one character of UTF-8 each. `leads`: the only first bytes, if any."""

    def among(first: int, last: int) -> str:
        shown = [char for char, byte in view.items() if first <= byte <= last]
        return "[" + "".join(map(re.escape, shown)) + "]"

    def of_lead(first: int, last: int) -> str:
        chosen = [lead for lead in leads if first <= lead <= last]
        if leads:
            shown = [char for char, byte in view.items() if byte in chosen]
            return "[" + "".join(map(re.escape, shown)) + "]" if shown else "(?!)"
        return among(first, last)

    more = among(0x80, 0xBF)
    return re.compile(
        f"(?:{of_lead(0xC2, 0xDF)}{more}|{of_lead(0xE0, 0xEF)}{more}{{2}}|{of_lead(0xF0, 0xF4)}{more}{{3}})+"
    )


_RUNS: Mapping[str, re.Pattern[str]] = {
    WINDOWS: _runs(_VIEWS[WINDOWS]),
    # What these show for other first bytes are letters.
    MAC: _runs(_VIEWS[MAC], 0xC3, 0xC4, 0xC5, 0xE2),
    DOS: _runs(_VIEWS[DOS], 0xC3, 0xC4, 0xC5, 0xE2),
}
_MORE_MAX = 0xBF  # bytes from 0x80 to here go on with a character of UTF-8, higher ones begin it
_HOOKED = "ȘșȚțƠơƯư"  # of Romanian and Vietnamese
_IN_NAMES = frozenset("ŠŒŽšœžŸ’‘´·–—\u00a0\u00ad")  # noqa: RUF001 -- of what may follow a first byte
# à, whose second half is a blank that was cut off or replaced
_TILDE_A = re.compile(r"(?<=[a-z])Ã(?=[ -]|$)")


def once(text: str) -> str:
    """The text with what is UTF-8 that was read as another encoding set right, however often it was."""
    for _ in range(3):
        right = _TILDE_A.sub("Ã\u00a0", text)
        for encoding, runs in _RUNS.items():
            right = runs.sub(lambda found, view=_VIEWS[encoding]: _decoded(found[0], view), right)  # type: ignore[misc]
        if right in (text, _TILDE_A.sub("Ã\u00a0", text)):
            break
        text = right
    return text


def _decoded(run: str, view: View) -> str:
    """The UTF-8 that a run stands for; the run itself if that is no text, or the run may be a name's."""
    try:
        text = bytes(view[char] for char in run).decode("utf-8")
    except UnicodeDecodeError:
        return run
    first = {view[char] for char in run if view[char] > _MORE_MAX}
    names = _IN_NAMES.issuperset(char for char in run if view[char] <= _MORE_MAX)
    if names and not first <= {0xC3, 0xC4, 0xC5}:
        return run  # a Czech Í before a Š
    return text if all(map(_in_use, text)) else run


def _in_use(char: str) -> bool:
    """Whether a character may well stand in a name: no mark alone, no sign of phonetics."""
    return unicodedata.category(char)[0] != "M" and not ("\u0180" <= char <= "\u02af" and char not in _HOOKED)


_LETTERS = frozenset("àâäáãåæçéèêëíìîïñóòôöõøœúùûüýÿÀÂÄÁÃÅÆÇÉÈÊËÍÌÎÏÑÓÒÔÖÕØŒÚÙÛÜÝŸ’–-")
_FREQUENT = "üöñÎÔÊÇËÏÈÉàûâîôêçïëèé"  # in French, the most frequent one last
_REREAD = ((WINDOWS, DOS), (WINDOWS, MAC), (WINDOWS, WINDOWS), (MAC, WINDOWS), (DOS, WINDOWS))
"""What shows the text, and what it may be in; a byte that could not be decoded shows itself."""

_CODECS = {WINDOWS: "cp1252", MAC: "mac_roman", DOS: "cp850"}
_LETTER = r"[^\W\d_]"
_CAPITAL_INSIDE = re.compile(
    rf"({_LETTER}+)[À-ÖØ-ÞŠŒŽŸ](?=[a-zß-öø-ÿœšž])|({_LETTER}*[a-zß-öø-ÿ])[À-ÖØ-ÞŠŒŽŸ](?!{_LETTER})"
)
_SMALL_FIRST = re.compile(rf"(?<!{_LETTER})[ß-öø-ÿœ]")
_SPACING = {"¨": "\u0308", "¸": "\u0327", "˜": "\u0303"}  # noqa: RUF001 -- they are meant
_ALONE = re.compile("([A-Za-z])([¨¸˜])")  # noqa: RUF001 -- likewise
_SMALL_INSIDE = re.compile(r"[A-Z][ß-öø-ÿœšž][A-Z]")
_PREFIXES = frozenset(["mac", "mc", "de", "di", "du", "da", "la", "le", "van", "fitz"])  # MacÉoin, DeÁngelis


def _misread(text: str) -> Damage | None:
    if text.isascii():
        return None
    right = once(text)
    if right != text:
        what = "UTF-8 that was read as something else"
        return Damage(f"{what}; did you mean {right}?" if _like_a_name(right) else what, TWICE)
    composed = _ALONE.sub(lambda found: found[1] + _SPACING[found[2]], text)
    right = unicodedata.normalize("NFC", composed)
    if composed != text and not any(map(unicodedata.combining, right)):
        return Damage(f"an accent stands alone; did you mean {right}?")
    if not (_STRAY.search(text) or _odd(text) or any("\udc80" <= char <= "\udcff" for char in text)):
        return None
    found = [
        (_likelihood(reading), -place, reading, encoding)
        for place, (shown, encoding) in enumerate(_REREAD)
        if (reading := _reread(text, _VIEWS[shown], encoding)) is not None
    ]
    if not found:
        return None
    _, _, reading, encoding = max(found)
    return Damage(f"read in a wrong encoding; did you mean {reading}?", encoding)


def _reread(text: str, view: View, encoding: str) -> str | None:
    """The text that these bytes are in another encoding, if it looks like a name."""
    try:
        raw = [char if char.isascii() else bytes([view[char]]).decode(_CODECS[encoding]) for char in text]
    except (KeyError, UnicodeDecodeError):
        return None
    reading = "".join(raw)
    likely = all(char.isascii() or char in _LETTERS for char in reading) and reading != text
    return reading if likely and not _odd(reading) and not _SMALL_INSIDE.search(reading) else None


def _likelihood(reading: str) -> int:
    return sum(_FREQUENT.find(char) for char in reading) - len(_FREQUENT) * len(_SMALL_FIRST.findall(reading))


def _like_a_name(text: str) -> bool:
    """Whether a reading is all letters, of one script."""
    if _STRAY.search(text) or not text.isprintable():
        return False
    return len({unicodedata.name(char, "").split(" ")[0] for char in text if char.isalpha()}) == 1


def _odd(text: str) -> bool:
    """Whether a capital with an accent stands inside a word of small letters, or ends it."""
    return any((found[1] or found[2]).casefold() not in _PREFIXES for found in _CAPITAL_INSIDE.finditer(text))


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
    return Damage(f"a letter is written as another format's code; did you mean {right}?")


# --- letters that are lost --------------------------------------------------------------------------

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
    fitting = {name for name in ACCENTED if re.fullmatch(pattern, name, re.IGNORECASE)}
    meant = f"; did you mean {fitting.pop()}?" if len(fitting) == 1 else ""
    return Damage(f"letters are lost, in place {places}{meant}")


# --- what cannot be seen, and what stands in no name ------------------------------------------------

_JOINERS = "\u200c\u200d"  # which some scripts need
_SIGNS = "¡¢£¤¥¦§¨©¬®±²³¶¸¹¼½¾¿×÷‚ƒ†‡ˆ‰‹›•™˜€…√∫≈∆◊\u2500-\u259f"  # noqa: RUF001 -- beside a letter
_QUOTES = "«»“”„°¯"  # between letters
_STRAY = re.compile(
    f"(?<={_LETTER})[{_SIGNS}]|[{_SIGNS}](?={_LETTER})|(?<={_LETTER})[{_QUOTES}](?={_LETTER})"
)


def _invisible(text: str) -> Damage | None:
    def unseen(char: str) -> bool:
        return unicodedata.category(char) in ("Cf", "Co") and char not in _JOINERS

    if not any(map(unseen, text)):
        return None
    right = "".join(char for char in text if not unseen(char))
    return Damage(f"an invisible character stands in it; did you mean {right}?")


def _stray(text: str) -> Damage | None:
    found = _STRAY.search(text)
    return None if found is None else Damage(f"{found[0]} stands beside a letter: read in a wrong encoding")


_SUSPECT = re.compile(r"[?&%=\\<]")
"""What an ASCII text must hold to be looked at more closely."""
