"""Encodings of exports, and the repair of text read in the wrong one.

A reading is computed where the damage can be undone: UTF-8 read as something else, one encoding read as
another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Mapping
from typing import NamedTuple

from schemas.language import gettext, gettext_noop

UTF8, WINDOWS, MAC, DOS, TWICE = "utf-8", "windows-1252", "mac-roman", "cp850", "utf-8-twice"
ENCODINGS = {
    UTF8: "UTF-8",
    WINDOWS: "Windows-1252",
    "iso-8859-15": "ISO 8859-15",
    MAC: "Mac Roman",
    DOS: gettext_noop("code page 850"),
    TWICE: gettext_noop("UTF-8 that was read as something else, and written as UTF-8 again"),
}
"""Encodings that a file may be declared in, with their names for people."""


class Damage(NamedTuple):
    """Damage of a text.

    Attributes:
        sentence: for people, in English; its fields are `value` and `places`.
        value: the likely right reading, or the wrong part; empty: none.
        encoding: the text's likely encoding, if it was read in another one.
        places: where letters are lost.
    """

    sentence: str
    value: str = ""
    encoding: str = ""
    places: str = ""

    @property
    def what(self) -> str:
        """The damage in words, with the likely right reading if there is one."""
        return gettext(self.sentence, value=self.value, places=self.places)


def repairing(likely: str, encoding: str) -> str:
    """The encoding that would repair the file if read in it; empty: none would.

    Args:
        likely: the likely encoding of its damaged values; see `likely_encoding`.
        encoding: the one it was read in.
    """
    if likely == TWICE:  # unless it was the reading here that was wrong
        return TWICE if encoding.startswith(UTF8) else UTF8
    if likely in (MAC, DOS):
        return likely if encoding == WINDOWS else ""
    return WINDOWS if likely == WINDOWS and encoding in (MAC, DOS) else ""


View = Mapping[str, int]
"""An encoding's characters, with their bytes from 0x80 on."""


def _view(encoding: str) -> dict[str, int]:
    shown = {}
    for byte in range(0x80, 0x100):
        try:
            shown[bytes([byte]).decode(encoding)] = byte
        except UnicodeDecodeError:
            continue
    return shown


def _windows_view() -> dict[str, int]:
    """Windows-1252 as software reads it. Undefined bytes: control characters or surrogates."""
    shown = {chr(byte): byte for byte in range(0x80, 0x100)}
    shown |= {chr(0xDC00 + byte): byte for byte in range(0x80, 0x100)}
    return shown | _view("cp1252")


_VIEWS: Mapping[str, View] = {WINDOWS: _windows_view(), MAC: _view("mac_roman"), DOS: _view("cp850")}


def _runs(view: View, *leads: int) -> re.Pattern[str]:
    """Pattern of sequences that are each one UTF-8 character misread. `leads`: first bytes, if limited."""

    def among(some: Container[int]) -> str:
        shown = [char for char, byte in view.items() if byte in some]
        return "[" + "".join(map(re.escape, shown)) + "]" if shown else "(?!)"

    more = among(range(0x80, 0xC0))
    two, three, four = (
        among(set(leads or first).intersection(first))
        for first in (range(0xC2, 0xE0), range(0xE0, 0xF0), range(0xF0, 0xF5))
    )
    return re.compile(f"(?:{two}{more}|{three}{more}{{2}}|{four}{more}{{3}})+")


_RUNS: Mapping[str, re.Pattern[str]] = {
    WINDOWS: _runs(_VIEWS[WINDOWS]),
    # What these show for other first bytes are letters.
    MAC: _runs(_VIEWS[MAC], 0xC3, 0xC4, 0xC5, 0xE2),
    DOS: _runs(_VIEWS[DOS], 0xC3, 0xC4, 0xC5, 0xE2),
}
_MORE_MAX = 0xBF  # bytes from 0x80 to here continue a character of UTF-8, higher ones begin it
_HOOKED = "ȘșȚțƠơƯư"  # of Romanian and Vietnamese
_IN_NAMES = frozenset("ŠŒŽšœžŸ’‘´·–—\u00a0\u00ad")  # noqa: RUF001 -- of what may follow a first byte
# à, whose second half is a blank that was cut off or replaced
_TILDE_A = re.compile(r"(?<=[a-z])Ã(?=[ -]|$)")


def once(text: str) -> str:
    """Undo UTF-8 that was read as another encoding, even several times."""
    for _ in range(3):
        right = _TILDE_A.sub("Ã\u00a0", text)
        for encoding, runs in _RUNS.items():
            right = runs.sub(lambda found, view=_VIEWS[encoding]: _decoded(found[0], view), right)  # type: ignore[misc]
        if right in (text, _TILDE_A.sub("Ã\u00a0", text)):
            break
        text = right
    return text


def _decoded(run: str, view: View) -> str:
    """The UTF-8 text in a run; the run itself if invalid, or if it may be in a name."""
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
    """True if a character may be in a name: no combining mark, no phonetic sign."""
    return unicodedata.category(char)[0] != "M" and not ("\u0180" <= char <= "\u02af" and char not in _HOOKED)


_LETTERS = frozenset("àâäáãåæçéèêëíìîïñóòôöõøœúùûüýÿÀÂÄÁÃÅÆÇÉÈÊËÍÌÎÏÑÓÒÔÖÕØŒÚÙÛÜÝŸ’–-")
_FREQUENT = "üöñÎÔÊÇËÏÈÉàûâîôêçïëèé"  # in French, the most frequent one last
_REREAD = ((WINDOWS, DOS), (WINDOWS, MAC), (WINDOWS, WINDOWS), (MAC, WINDOWS), (DOS, WINDOWS))
"""Encodings as read, and as they may be; an undecodable byte shows itself."""

_CODECS = {WINDOWS: "cp1252", MAC: "mac_roman", DOS: "cp850"}
_LETTER = r"[^\W\d_]"
_SIGNS = "¡¢£¤¥¦§¨©¬®±²³¶¸¹¼½¾¿×÷‚ƒ†‡ˆ‰‹›•™˜€…√∫≈∆◊\u2500-\u259f"  # noqa: RUF001 -- next to a letter
_QUOTES = "«»“”„°¯"  # between letters
STRAY = re.compile(f"(?<={_LETTER})[{_SIGNS}]|[{_SIGNS}](?={_LETTER})|(?<={_LETTER})[{_QUOTES}](?={_LETTER})")
"""A sign that no name has, next to a letter."""

_CAPITAL_INSIDE = re.compile(
    rf"({_LETTER}+)[À-ÖØ-ÞŠŒŽŸ](?=[a-zß-öø-ÿœšž])|({_LETTER}*[a-zß-öø-ÿ])[À-ÖØ-ÞŠŒŽŸ](?!{_LETTER})"
)
_SMALL_FIRST = re.compile(rf"(?<!{_LETTER})[ß-öø-ÿœ]")
_SPACING = {"¨": "\u0308", "¸": "\u0327", "˜": "\u0303"}  # noqa: RUF001 -- they are meant
_ALONE = re.compile("([A-Za-z])([¨¸˜])")  # noqa: RUF001 -- likewise
_SMALL_INSIDE = re.compile(r"[A-Z][ß-öø-ÿœšž][A-Z]")
_PREFIXES = frozenset(["mac", "mc", "de", "di", "du", "da", "la", "le", "van", "fitz"])  # MacÉoin, DeÁngelis


def misread(text: str) -> Damage | None:
    """The damage of a text read in a wrong encoding; None: none is visible."""
    if text.isascii():
        return None
    right = once(text)
    if right != text:
        if not _like_a_name(right):
            return Damage(gettext_noop("UTF-8 that was read as something else"), encoding=TWICE)
        read_twice = gettext_noop("UTF-8 that was read as something else; did you mean {value}?")
        return Damage(read_twice, right, TWICE)
    composed = _ALONE.sub(lambda found: found[1] + _SPACING[found[2]], text)
    right = unicodedata.normalize("NFC", composed)
    if composed != text and not any(map(unicodedata.combining, right)):
        return Damage(gettext_noop("an accent stands alone; did you mean {value}?"), right)
    if not (STRAY.search(text) or _odd(text) or any("\udc80" <= char <= "\udcff" for char in text)):
        return None
    found = [
        (_likelihood(reading), -place, reading, encoding)
        for place, (shown, encoding) in enumerate(_REREAD)
        if (reading := _reread(text, _VIEWS[shown], encoding)) is not None
    ]
    if not found:
        return None
    _, _, reading, encoding = max(found)
    return Damage(gettext_noop("read in a wrong encoding; did you mean {value}?"), reading, encoding)


def _reread(text: str, view: View, encoding: str) -> str | None:
    """The bytes' text in another encoding, if it looks like a name."""
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
    """True if a reading is all letters, of one script."""
    if STRAY.search(text) or not text.isprintable():
        return False
    return len({unicodedata.name(char, "").split(" ")[0] for char in text if char.isalpha()}) == 1


def _odd(text: str) -> bool:
    """True if an accented capital is inside or at the end of a lower-case word."""
    return any((found[1] or found[2]).casefold() not in _PREFIXES for found in _CAPITAL_INSIDE.finditer(text))
