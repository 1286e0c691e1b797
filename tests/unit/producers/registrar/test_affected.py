"""The file of affected people: before and after, column by column."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from pipeline.threshold import Threshold
from producers.registrar.affected import RecordedPerson
from sesame.testing.servers.registrar_kit import ZOE, Registrar, Row

PHONE = {"NUM_TEL_PORT": "06 12 34 56 78"}
SMALL = Threshold(share=0.0, people=0, floor=0)
KNOWN = RecordedPerson(
    "Lefèvre d'Ormesson", "Zoé", "2008-03-07", ZOE["COD_NNE_IND"], "zoe.lefevre@example.org", "+33612345678"
)


class Recorded:
    """Who is recorded under Zoé's number."""

    def __init__(self, person: RecordedPerson = KNOWN) -> None:
        self.person = person
        self.asked: list[Collection[str]] = []

    def erased(self, students: Collection[str]) -> Collection[str]:
        return ()

    def recorded(self, students: Collection[str]) -> Mapping[str, RecordedPerson]:
        self.asked.append(students)
        return {ZOE["COD_ETU"]: self.person}


def changed(registrar: Registrar, **changes: str) -> Row:
    """What the file of affected people has when Zoé's line changes: columns, before, after."""
    registrar.import_rows(ZOE | PHONE)
    registrar.import_rows(ZOE | PHONE | changes, threshold=SMALL)
    [row] = registrar.affected_rows()
    return row


@pytest.mark.parametrize(
    ("changes", "columns", "before", "after"),
    [
        ({"LIB_NOM_PAT_IND": "Durand"}, "LIB_NOM_PAT_IND", "Lefèvre d'Ormesson", "Durand"),
        ({"DATE_NAI_IND": "08/03/2008"}, "DATE_NAI_IND", "2008-03-07", "2008-03-08"),
        (
            {"LIB_PR1_IND": "Inès", "DATE_NAI_IND": "08/03/2008"},
            "LIB_PR1_IND, DATE_NAI_IND",
            "Zoé, 2008-03-07",
            "Inès, 2008-03-08",
        ),
        ({"MAIL_PERSO": "z@example.org"}, "MAIL_PERSO", "zoe.lefevre@example.org", "z@example.org"),
        ({"MAIL_PERSO": ""}, "MAIL_PERSO", "zoe.lefevre@example.org", "(nothing)"),
        ({"NUM_TEL_PORT": "0687654321"}, "NUM_TEL_PORT", "'+33612345678", "'+33687654321"),
        ({"NUM_TEL_PORT": ""}, "NUM_TEL_PORT", "'+33612345678", "(nothing)"),
        ({"COD_NNE_IND": ""}, "COD_NNE_IND", ZOE["COD_NNE_IND"], "(nothing)"),
        ({"COD_CMP": "DRT"}, "COD_CMP", "SCI", "DRT"),
        ({"IP_VALIDE": "N"}, "IP_VALIDE", "validated", "pending"),
        ({"ETA_IAE": "C"}, "ETA_IAE", "in force", "pending"),
        ({"ETA_IAE": "A"}, "ETA_IAE", "in force", "cancelled"),
    ],
)
def test_each_change_names_its_columns_and_both_values(
    registrar: Registrar, changes: Row, columns: str, before: str, after: str
) -> None:
    registrar.persons = Recorded()
    row = changed(registrar, **changes)
    assert (row["columns"], row["before"], row["after"]) == (columns, before, after)


def test_what_nobody_recorded_is_said_not_to_be_kept(registrar: Registrar) -> None:
    row = changed(registrar, LIB_NOM_PAT_IND="Durand")
    assert row["before"] == "another value, which is not kept"
    assert row["after"] == "Zoé, Durand, 2008-03-07"


def test_another_person_s_data_is_never_shown_as_what_was_before(registrar: Registrar) -> None:
    """The registry may hold something else than this feed published: it is not taken for it."""
    registrar.persons = Recorded(KNOWN._replace(given_name="Inès"))
    row = changed(registrar, LIB_NOM_PAT_IND="Durand")
    assert row["before"] == "another value, which is not kept"


def test_who_somebody_was_is_asked_only_where_that_has_changed(registrar: Registrar) -> None:
    registrar.persons = persons = Recorded()
    changed(registrar, ETA_IAE="A")
    assert persons.asked == []
