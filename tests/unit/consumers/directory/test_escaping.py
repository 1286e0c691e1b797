"""Whatever a value holds, it stays one value: in a distinguished name, in a filter, in SupAnn's composites.

The readers here are written from the standards and share no code with the adapter.
"""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from consumers.directory.entry import Profile, wanted_fields
from consumers.directory.settings import DirectorySettings
from consumers.kit.ldap import any_of, name_dn
from schemas.account import Administrative, Enrolment, Pedagogical
from sesame.testing.servers.accounts import account_of

PARENT = "ou=people,dc=univ-exemple,dc=fr"
HOSTILE = [
    "a,ou=admins",
    "*)(uid=*",
    "a+cn=b",
    "#42",
    " x ",
    " ",
    'Al "A"',
    "a\\",
    "\\2c",
    "a\x00b",
    "a\nb",
    "<>;=",
    "é😀",
]
ANY_VALUE = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))


def read_dn(text: str) -> list[tuple[str, str]]:
    """The attribute and value of each relative name (RFC 4514, section 3); several in one are refused."""
    parts: list[list[bytes]] = [[]]
    bytes_left = text.encode()
    while bytes_left:
        hexadecimal = re.match(rb"\\([0-9A-Fa-f]{2})", bytes_left)
        if hexadecimal:
            parts[-1].append(bytes([int(hexadecimal[1], 16)]))
            bytes_left = bytes_left[3:]
        elif bytes_left[:1] == b"\\":
            assert bytes_left[1:2] in (b" ", b'"', b"#", b"+", b",", b";", b"<", b"=", b">", b"\\"), text
            parts[-1].append(bytes_left[1:2])
            bytes_left = bytes_left[2:]
        elif bytes_left[:1] == b",":
            parts.append([])
            bytes_left = bytes_left[1:]
        else:
            assert bytes_left[:1] not in b'"+;<>\x00', text
            parts[-1].append(bytes_left[:1])
            bytes_left = bytes_left[1:]
    names = [b"".join(part).decode().partition("=") for part in parts]
    return [(name, value) for name, _, value in names]


def read_filter(text: str) -> list[tuple[str, str]]:
    """The attribute and value of each equality in one `(|…)` (RFC 4515, section 3)."""
    inner = re.fullmatch(r"\(\|((?:\([^()*\x00]*\))*)\)", text, re.DOTALL)
    assert inner is not None, text
    items = [item.partition("=") for item in re.findall(r"\(([^()]*)\)", inner[1], re.DOTALL)]

    def plain(value: str) -> str:
        assert re.fullmatch(r"(?:[^\\]|\\[0-9A-Fa-f]{2})*", value, re.DOTALL), text
        pattern = rb"\\([0-9A-Fa-f]{2})"
        return re.sub(pattern, lambda found: bytes([int(found[1], 16)]), value.encode()).decode()

    return [(name, plain(value)) for name, _, value in items]


@given(ANY_VALUE)
def test_a_value_in_a_distinguished_name_is_one_value_in_one_place(value: str) -> None:
    first, *rest = read_dn(name_dn("uid", value, PARENT))
    assert first == ("uid", value)
    assert rest == [("ou", "people"), ("dc", "univ-exemple"), ("dc", "fr")]


@given(st.lists(ANY_VALUE, max_size=5))
@example(HOSTILE)
def test_values_in_a_filter_are_compared_and_never_interpreted(values: list[str]) -> None:
    assert read_filter(any_of("uid", values)) == [("uid", value) for value in values]


CODES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.:+/ -]{0,63}\Z")  # the registrar's, as events take them


@given(step=CODES, version=CODES, component=CODES, year=st.integers(1990, 2100))
def test_a_composite_of_any_codes_can_be_taken_apart_again(
    step: str, version: str, component: str, year: int
) -> None:
    enrolment = Enrolment(
        year=year,
        step=step,
        step_version=version,
        step_label="Licence 1",
        component=component,
        administrative=Administrative.IN_FORCE,
        pedagogical=Pedagogical.PENDING,
    )
    account = account_of(enrolments=(enrolment,))
    entry = wanted_fields(
        account, Profile(DirectorySettings(uai="0751717J", mail_quota=""), scope="univ-exemple.fr")
    )
    [composite] = entry["supannEtuInscription"]
    fields = re.findall(r"\[([a-z]+)=([^\[\]]*)\]", composite)
    assert "".join(f"[{name}={value}]" for name, value in fields) == composite
    found = dict(fields)
    assert found["etab"] == "{UAI}0751717J"
    assert found["anneeinsc"] == str(year)
    assert found["affect"].strip() == component.strip()
    assert found["etape"] == f"{{UAI:0751717J}}{step}-{version}"
    assert entry["supannEtuEtape"] == (found["etape"].strip(),)
