"""Logins and addresses from names: every rule of `consumers.registry.identity`, on names of real shapes."""

# ruff: noqa: RUF001 - names are written as their bearers write them

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumers.registry import identity
from consumers.registry.identity import (
    MAIL,
    PRINCIPAL,
    NamesExhausted,
    Templates,
    ascii_word,
    mint,
    renamed,
    short_login,
)
from consumers.registry.people import Names
from consumers.registry.settings import RegistrySettings, template_fields
from schemas.account import Person

SETTINGS = RegistrySettings(mail_domain="etu.univ-exemple.fr")
LOGIN = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")  # Moodle's username alphabet, without the at sign
DOT_STRING = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")  # RFC 5321, 4.1.2, less what nobody wants in a login


class MemoryLedger:
    """The ledger, in memory."""

    def __init__(self, **others: str) -> None:
        self.holders: dict[tuple[str, str], str] = {("login", name): who for name, who in others.items()}

    def held_by(self, student_number: str) -> Mapping[str, str]:
        return {kind: value for (kind, value), who in self.holders.items() if who == student_number}

    def claim(self, names: Mapping[str, str], student_number: str) -> bool:
        if any(self.holders.get(name, student_number) != student_number for name in names.items()):
            return False
        self.holders |= dict.fromkeys(names.items(), student_number)
        return True


def person(given_name: str, birth_name: str, **more: str) -> Person:
    return Person(given_name=given_name, birth_name=birth_name, **more)


def login(given_name: str, birth_name: str, settings: RegistrySettings = SETTINGS, counter: int = 1) -> str:
    return Templates(person(given_name, birth_name), "22001234", settings).login(counter)


@pytest.mark.parametrize(
    ("given_name", "birth_name", "expected"),
    [
        ("Léa", "Martin", "lea.martin"),
        ("Jean-Pierre", "Dupont", "jean-pierre.dupont"),
        ("Jeanne", "d'Arc", "jeanne.darc"),
        ("Jeanne", "d’Arc", "jeanne.darc"),
        ("Jeanne", "D ` Arc", "jeanne.darc"),
        ("Sean", "O' Connor", "sean.oconnor"),
        ("Guillaume", "de L'Hospital", "guillaume.delhospital"),
        ("Maurice", "de la Tour", "maurice.delatour"),
        ("Charles", "Dupont de Ligonnès", "charles.dupont-deligonnes"),
        ("Amélie", "Le Goff", "amelie.legoff"),
        ("Ursula", "von der Leyen", "ursula.vonderleyen"),
        ("Nadia", "Ben Ali", "nadia.benali"),
        ("Nadia", "Ben-Ali", "nadia.ben-ali"),
        ("Karim", "Ben", "karim.ben"),
        ("Inès", "Martin Dupont", "ines.martin-dupont"),
        ("Inès", "Martin - Dupont", "ines.martin-dupont"),
        ("Inès", "Martin--Dupont", "ines.martin-dupont"),
        ("Inès", "Martin\u2011Dupont", "ines.martin-dupont"),
        ("Marie France", "Petit", "marie-france.petit"),
        ("Jörg", "Groß", "jorg.gross"),
        ("Cœline", "Lætitia", "coeline.laetitia"),
        ("Søren", "Ørsted", "soren.orsted"),
        ("Thị Ánh", "Nguyễn Đình", "thi-anh.nguyen-dinh"),
        ("Thi\u0323 A\u0301nh", "Nguye\u0302\u0303n", "thi-anh.nguyen"),
        ("İpek", "Yılmaz", "ipek.yilmaz"),
        ("小明", "王", "xiaoming.wang"),
        ("Иван", "Щукин", "ivan.shchukin"),
        ("محمد", "علوي", "mhmd.lwy"),
        ("Ｊｅａｎ", "ﬁlleul", "jean.filleul"),
        ("Gal·la", "Puig", "galla.puig"),
        ("J.-P.", "St. John", "j-p.st-john"),
        ("Élodie 🎓", "Roux", "elodie.roux"),
        ("Erwan", "Ker 'Vel", "erwan.kervel"),
        ("Erwan", "Ker´Vel", "erwan.kervel"),
        ("Levon", "Ker՚Petrosyan", "levon.kerpetrosyan"),
        ("Ana", "Ab\u02cdroux", "ana.abroux"),
        ("Leilani", "Ka ʻAhu", "leilani.kaahu"),
        ("Amina", "سعيد", "amina.syd"),
        ("Anna", "Bel—Ami", "anna.bel-ami"),
        ("Anna", "Bel−Ami", "anna.bel-ami"),
        ("Ⓛéa", "Roux", "lea.roux"),
        ("Le\u20dda", "Ro\u0327\u0301ux", "lea.roux"),
        ("Sam", "Fara\u200dh", "sam.farah"),
        ("Ab", "Roux$Petit", "ab.rouxpetit"),
        ("Marie de la Croix", "Petit", "marie-de-la-croix.petit"),
        ("John", "Smith 3rd", "john.smith-3rd"),
        ("Jan", "van der", "jan.vander"),
        ("Tam", "Z\u0351\u036ba\u0489lgo", "tam.zalgo"),
        ("सीता", "कौर", "sita.kaur"),
        ("משה", "כהן", "msh.khhn"),
        ("はなこ", "やまだ", "hanako.yamada"),
        ("지우", "김", "jiu.gim"),
    ],
)
def test_a_name_becomes_a_login(given_name: str, birth_name: str, expected: str) -> None:
    assert login(given_name, birth_name) == expected


@pytest.mark.parametrize(
    ("given_name", "birth_name"), [("🎓", "🎉"), ("-", "."), ("'", "—"), ("\u200b", "\u00ad")]
)
def test_names_that_leave_nothing_give_the_student_number(given_name: str, birth_name: str) -> None:
    assert login(given_name, birth_name) == "22001234"
    assert login(given_name, birth_name, counter=2) == "22001234-2"


def test_somebody_with_one_name_only_has_no_dangling_dot() -> None:
    assert login("-", "Suharto") == "suharto"
    assert login("Suharto", ".") == "suharto"


def test_the_usage_name_and_the_preferred_given_name_are_what_people_see() -> None:
    who = person("Louis", "Martin", usage_name="Bernard", preferred_given_name="Louise")
    assert Templates(who, "22001234", SETTINGS).login() == "louise.bernard"


@pytest.mark.parametrize(
    ("name", "word"),
    [("A--B", "a-b"), ("-a-", "a"), ("a - b", "a-b"), ("a_b", "a-b"), ("a -- b", "a-b"), ("--", "")],
)
def test_a_word_has_single_hyphens_inside_only(name: str, word: str) -> None:
    assert ascii_word(name) == word


def test_homonyms_are_counted_from_two_on() -> None:
    assert [login("Jean", "Dupont", counter=n) for n in (1, 2, 3)] == [
        "jean.dupont",
        "jean.dupont2",
        "jean.dupont3",
    ]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{given}.{family}", "jean-pierre.delatour"),
        ("{given_initial}{family}", "jdelatour"),
        ("{given_initials}.{family}", "jp.delatour"),
        ("{family}.{given}", "delatour.jean-pierre"),
        ("{student_number}", "22001234"),
        ("e{student_number}", "e22001234"),
        ("{given}.{family}.etu", "jean-pierre.delatour.etu"),
        ("{given_initial}{family_initial}{student_number}", "jd22001234"),
        ("{given}_{family}", "jean-pierre_delatour"),
    ],
)
def test_sites_choose_their_template(template: str, expected: str) -> None:
    settings = RegistrySettings(login_template=template)
    assert login("Jean-Pierre", "de la Tour", settings) == expected


def test_a_separator_beside_nothing_disappears_inside_the_login_too() -> None:
    settings = RegistrySettings(login_template="{given}.{family}.etu")
    assert login("Suharto", "🎉", settings) == "suharto.etu"
    assert login("🎓", "Suharto", RegistrySettings(login_template="{family}-_{given}.x")) == "suharto.x"


def test_a_template_may_take_the_birth_name_whatever_is_shown() -> None:
    settings = RegistrySettings(login_template="{given}.{birth_family}")
    who = person("Louis", "de Martin", usage_name="Bernard")
    assert Templates(who, "22001234", settings).login() == "louis.demartin"


def test_a_capital_in_a_student_number_is_none_in_a_login() -> None:
    settings = RegistrySettings(login_template="{student_number}")
    assert Templates(person("Louis", "Martin"), "E22-01.", settings).login() == "e22-01"


def test_a_long_login_loses_whole_parts_of_its_longest_name_first() -> None:
    long = login("Maximilien-Alexandre", "de la Rochefoucauld-Liancourt-Montmirail")
    assert long == "maximilien.delarochefoucauld"


def test_the_counter_fits_inside_the_limit() -> None:
    short = RegistrySettings(login_length_max=12)
    assert login("Jean", "Dupontel", short) == "jean.duponte"
    assert login("Jean", "Dupontel", short, counter=12) == "jean.dupo12"
    assert login("Jean", "Dupon", short, counter=2) == "jean.dupon2"


def test_names_are_shortened_to_their_initials_before_the_student_number_is_cut() -> None:
    settings = RegistrySettings(login_template="{given}.{family}.{student_number}", login_length_max=8)
    assert Templates(person("Jean", "Dupont"), "2200", settings).login() == "j.d.2200"
    assert Templates(person("Jean", "Dupont"), "220.0", settings).login() == "j.d.220"


def test_a_long_birth_name_is_shortened_like_any_other() -> None:
    settings = RegistrySettings(login_template="{birth_family}.{given_initial}", login_length_max=12)
    assert login("Jean", "de la Rochefoucauld", settings) == "delarochef.j"


def test_an_address_has_as_many_characters_as_the_standard_allows() -> None:
    settings = RegistrySettings(mail_template="{given}.{family}@{domain}", scope="univ-exemple.fr")
    minted = Templates(person("a" * 50, "b" * 50), "22001234", settings)
    assert len(minted.address(MAIL, "x").partition("@")[0]) == 64
    assert minted.address(PRINCIPAL, "jean.dupont") == "jean.dupont@univ-exemple.fr"


@pytest.mark.parametrize(
    "template",
    ["{prenom}.{nom}", "{given!r}", "{given:.3}", "Étu-{family}", "{given} {family}", "etudiant", "{"],
)
def test_a_template_that_cannot_work_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="login_template"):
        RegistrySettings(login_template=template)


@pytest.mark.parametrize("template", ["{login}", "{login}@", "{login}@not a domain", "{prenom}@{domain}"])
def test_an_address_template_that_cannot_work_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="mail_template"):
        RegistrySettings(mail_template=template)


# --- minting ---


def test_the_addresses_share_the_login_s_counter() -> None:
    ledger = MemoryLedger(**{"jean.dupont": "21000001"})
    names = mint(person("Jean", "Dupont"), "22001234", SETTINGS, ledger)
    assert names == ("jean.dupont2", "jean.dupont2@etu.univ-exemple.fr", "jean.dupont2@etu.univ-exemple.fr")


def test_an_address_that_somebody_else_holds_moves_the_login_on_too() -> None:
    ledger = MemoryLedger()
    ledger.holders[MAIL, "jean.dupont@etu.univ-exemple.fr"] = "staff"
    names = mint(person("Jean", "Dupont"), "22001234", SETTINGS, ledger)
    assert (names.login, names.mail) == ("jean.dupont2", "jean.dupont2@etu.univ-exemple.fr")
    assert ("login", "jean.dupont") not in ledger.holders


def test_an_address_without_the_login_has_a_counter_of_its_own() -> None:
    settings = RegistrySettings(login_template="{student_number}", mail_template="{given}.{family}@{domain}")
    ledger = MemoryLedger()
    mint(person("Jean", "Dupont"), "21000001", settings, ledger)
    names = mint(person("Jean", "Dupont"), "22001234", settings, ledger)
    assert names.login == "22001234"
    assert names.mail == "jean.dupont2@etu.univ.example"
    assert names.principal == "22001234@etu.univ.example"


def test_an_address_that_the_ledger_knows_is_kept_beside_a_new_login() -> None:
    ledger = MemoryLedger()
    ledger.holders[MAIL, "jd@univ-exemple.fr"] = "22001234"
    names = mint(person("Jean", "Dupont"), "22001234", SETTINGS, ledger)
    assert names == ("jean.dupont", "jd@univ-exemple.fr", "jean.dupont@etu.univ-exemple.fr")
    assert (MAIL, "jean.dupont@etu.univ-exemple.fr") not in ledger.holders


def test_a_change_of_name_keeps_every_name() -> None:
    ledger = MemoryLedger()
    before = mint(person("Claire", "Moreau"), "22001234", SETTINGS, ledger)
    after = mint(person("Claire", "Moreau", usage_name="Lefebvre"), "22001234", SETTINGS, ledger)
    assert after == before


def test_a_reserved_name_is_given_to_nobody() -> None:
    settings = RegistrySettings(login_template="{family}", reserved_names=frozenset({"Root"}))
    names = mint(person("Jean", "Root"), "22001234", settings, MemoryLedger())
    assert names.login == "root2"
    assert names.mail == "root2@etu.univ.example"


def test_a_reserved_address_is_given_to_nobody_even_beside_a_login_that_is_free() -> None:
    settings = RegistrySettings(login_template="{student_number}", mail_template="{family}@{domain}")
    names = mint(person("Jean", "Root"), "22001234", settings, MemoryLedger())
    assert (names.login, names.mail) == ("22001234", "root2@etu.univ.example")


def test_a_login_found_in_the_directory_is_kept_and_the_rest_is_minted_beside_it() -> None:
    ledger = MemoryLedger(jdupont="22001234")
    names = mint(person("Jean", "Dupont"), "22001234", SETTINGS, ledger)
    assert names == ("jdupont", "jdupont@etu.univ-exemple.fr", "jdupont@etu.univ-exemple.fr")


# --- a change of name ---

CLAIRE, MARRIED = person("Claire", "Moreau"), person("Claire", "Moreau", usage_name="Lefebvre")
RENAMING = SETTINGS.model_copy(update={"rename": "mail"})


def rename(
    names: Names, before: Person, after: Person, ledger: MemoryLedger, settings: RegistrySettings = RENAMING
) -> Names:
    return renamed(names, before, after, "22001234", settings, ledger)


def test_a_site_that_keeps_names_changes_none() -> None:
    ledger = MemoryLedger()
    names = mint(CLAIRE, "22001234", SETTINGS, ledger)
    assert rename(names, CLAIRE, MARRIED, ledger, SETTINGS) == names


def test_the_address_follows_a_change_of_name_and_the_login_stays() -> None:
    ledger = MemoryLedger()
    names = mint(CLAIRE, "22001234", RENAMING, ledger)
    after = rename(names, CLAIRE, MARRIED, ledger)
    assert after == ("claire.moreau", "claire.lefebvre@etu.univ-exemple.fr", names.principal)
    assert ledger.holders[MAIL, names.mail] == "22001234"


def test_the_address_of_a_new_name_passes_over_those_who_have_it() -> None:
    ledger = MemoryLedger(**{"claire.lefebvre": "21000001"})
    ledger.holders[MAIL, "claire.lefebvre2@etu.univ-exemple.fr"] = "staff"
    names = mint(CLAIRE, "22001234", RENAMING, ledger)
    assert rename(names, CLAIRE, MARRIED, ledger).mail == "claire.lefebvre3@etu.univ-exemple.fr"


def test_nobody_else_is_given_the_login_of_the_new_address() -> None:
    ledger = MemoryLedger()
    rename(mint(CLAIRE, "22001234", RENAMING, ledger), CLAIRE, MARRIED, ledger)
    namesake = mint(person("Claire", "Lefebvre"), "22005678", RENAMING, ledger)
    assert (namesake.login, namesake.mail) == ("claire.lefebvre2", "claire.lefebvre2@etu.univ-exemple.fr")


def test_a_former_name_gives_the_former_address_back() -> None:
    ledger = MemoryLedger()
    names = mint(CLAIRE, "22001234", RENAMING, ledger)
    after = rename(names, CLAIRE, MARRIED, ledger)
    assert rename(after, MARRIED, CLAIRE, ledger) == names


@pytest.mark.parametrize(
    "after",
    [
        person("Claire", "MOREAU"),
        person("Claire", "Moreau", preferred_given_name="Claire"),
        person("Clairé", "Moreau"),
    ],
)
def test_another_spelling_of_the_same_login_is_no_change_of_name(after: Person) -> None:
    ledger = MemoryLedger(**{"claire.moreau": "21000001"})
    names = mint(CLAIRE, "22001234", RENAMING, ledger)
    assert names.login == "claire.moreau2"
    assert rename(names, CLAIRE, after, ledger) == names


def test_an_address_that_is_not_made_of_the_login_has_its_own_counter_and_takes_no_login() -> None:
    settings = RegistrySettings(
        rename="mail", login_template="{student_number}", mail_template="{given}.{family}@{domain}"
    )
    ledger = MemoryLedger()
    ledger.holders[MAIL, "claire.lefebvre@etu.univ.example"] = "21000001"
    names = mint(CLAIRE, "22001234", settings, ledger)
    after = rename(names, CLAIRE, MARRIED, ledger, settings)
    assert after.mail == "claire.lefebvre2@etu.univ.example"
    assert {value for kind, value in ledger.holders if kind == "login"} == {"22001234"}


def test_an_address_of_numbers_does_not_care_about_names() -> None:
    settings = RegistrySettings(rename="mail", login_template="{student_number}")
    ledger = MemoryLedger()
    names = mint(CLAIRE, "22001234", settings, ledger)
    assert rename(names, CLAIRE, MARRIED, ledger, settings) == names


def test_a_reserved_address_is_not_given_for_a_new_name_either() -> None:
    settings = RENAMING.model_copy(update={"reserved_names": frozenset({"claire.lefebvre"})})
    ledger = MemoryLedger()
    names = mint(CLAIRE, "22001234", settings, ledger)
    assert rename(names, CLAIRE, MARRIED, ledger, settings).mail == "claire.lefebvre2@etu.univ-exemple.fr"


def test_the_search_for_a_new_address_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = MemoryLedger(**{"claire.lefebvre": "21000001", "claire.lefebvre2": "21000002"})
    names = mint(CLAIRE, "22001234", RENAMING, ledger)
    monkeypatch.setattr(identity, "HOMONYMS_MAX", 3)
    assert rename(names, CLAIRE, MARRIED, ledger).mail == "claire.lefebvre3@etu.univ-exemple.fr"
    del (
        ledger.holders[MAIL, "claire.lefebvre3@etu.univ-exemple.fr"],
        ledger.holders["login", "claire.lefebvre3"],
    )
    monkeypatch.setattr(identity, "HOMONYMS_MAX", 2)
    with pytest.raises(NamesExhausted):
        rename(names, CLAIRE, MARRIED, ledger)


# --- for any name at all ---

ANY_NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
ANY_NUMBER = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", fullmatch=True)
TEMPLATES = st.sampled_from(
    ["{given}.{family}", "{given_initial}{family}", "{student_number}", "{family}-{given_initials}.etu"]
)
COUNTERS = st.integers(1, 9999)


SETTINGS_OF_SITES = st.builds(RegistrySettings, login_template=TEMPLATES, login_length_max=st.integers(8, 64))


@given(ANY_NAME, ANY_NAME, ANY_NUMBER, SETTINGS_OF_SITES, COUNTERS)
def test_any_name_gives_a_login_that_every_target_takes(
    given_name: str, birth_name: str, number: str, settings: RegistrySettings, counter: int
) -> None:
    minted = Templates(person(given_name, birth_name), number, settings).login(counter)
    assert LOGIN.fullmatch(minted), minted
    assert len(minted) <= settings.login_length_max


@given(ANY_NAME, ANY_NAME, ANY_NUMBER, TEMPLATES, COUNTERS)
def test_any_name_gives_a_mail_address_in_the_standard_s_limits(
    given_name: str, birth_name: str, number: str, template: str, counter: int
) -> None:
    settings = RegistrySettings(login_template=template, mail_template="{given}.{login}@{domain}")
    minted = Templates(person(given_name, birth_name), number, settings)
    for kind in (MAIL, PRINCIPAL):
        local, _, domain = minted.address(kind, minted.login(counter), counter).partition("@")
        assert DOT_STRING.fullmatch(local), local
        assert len(local) <= 64
        assert domain == "etu.univ.example"


@given(ANY_NAME, ANY_NAME, ANY_NUMBER, st.integers(8, 64))
@example("A", "AA\U00010040", "0", 8)  # a sign of Linear B that is spelt 100: the counter must not meet it
def test_no_two_counters_give_the_same_login(
    given_name: str, birth_name: str, number: str, length_max: int
) -> None:
    settings = RegistrySettings(login_length_max=length_max)
    minted = Templates(person(given_name, birth_name), number, settings)
    counted = {minted.login(counter) for counter in range(2, 120)}
    assert len(counted) == 118
    # A name that itself looks counted is passed over by the ledger when its turn comes.
    assert minted.login() not in counted or re.search(r"-\d+$", minted.login())


@given(ANY_NAME)
def test_a_word_is_stable(name: str) -> None:
    word = ascii_word(name)
    assert re.fullmatch(r"([a-z0-9]+(-[a-z0-9]+)*)?", word)
    assert ascii_word(word) == word


@given(st.sets(ANY_NUMBER.map(str.lower), min_size=2, max_size=8), ANY_NAME, ANY_NAME)
def test_people_of_one_name_never_share_anything(numbers: set[str], given_name: str, birth_name: str) -> None:
    ledger = MemoryLedger()
    minted = [mint(person(given_name, birth_name), number, SETTINGS, ledger) for number in sorted(numbers)]
    assert len({names.login for names in minted}) == len(numbers)
    assert len({names.mail for names in minted}) == len(numbers)


def test_the_fields_of_a_template_are_found() -> None:
    assert template_fields("{given}.{family}") == {"given", "family"}


# --- short logins, for targets that take twenty characters ---

LONG = "marie-antoinette.delatour-dauvergne"


def test_a_login_of_twenty_characters_is_short_enough() -> None:
    ledger = MemoryLedger()
    assert short_login("a" * 20, "1", SETTINGS, ledger) is None
    assert ledger.holders == {}


def test_a_longer_login_has_a_short_one_for_ever() -> None:
    ledger = MemoryLedger()
    assert short_login(LONG, "1", SETTINGS, ledger) == "marie-antoinette.del"
    assert short_login(LONG, "1", SETTINGS, ledger) == "marie-antoinette.del"
    assert short_login(f"{LONG}2", "2", SETTINGS, ledger) == "marie-antoinette.d2"
    assert short_login("abcdefghijklmnopqrs-tuv", "3", SETTINGS, ledger) == "abcdefghijklmnopqrs"


def test_a_short_login_is_never_another_students_login() -> None:
    ledger = MemoryLedger(**{"marie-antoinette.del": "9"})
    assert short_login(LONG, "1", SETTINGS, ledger) == "marie-antoinette.d2"
    taken = person("Marie-Antoinette", "De")
    assert mint(taken, "2", SETTINGS, ledger).login == "marie-antoinette.de"
    assert not ledger.claim({"login": "marie-antoinette.d2"}, "3")


def test_short_logins_run_out_as_logins_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "HOMONYMS_MAX", 1)
    ledger = MemoryLedger()
    short_login(LONG, "1", SETTINGS, ledger)
    with pytest.raises(NamesExhausted):
        short_login(f"{LONG}2", "2", SETTINGS, ledger)


@given(st.text("abcdefgh0123456789._-", min_size=21, max_size=64).filter(lambda text: text[0].isalnum()))
def test_a_short_login_is_a_login(long: str) -> None:
    short = short_login(long, "1", SETTINGS, MemoryLedger())
    assert short is not None
    assert len(short) <= 20
    assert LOGIN.fullmatch(short)
