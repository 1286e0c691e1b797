"""Each table says whose its rows are, and a person who is forgotten is in none of them."""

from __future__ import annotations

from sqlalchemy import Text

from pipeline.db import persons
from pipeline.db.persons import OnErasure
from sesame.app.tables import metadata
from sesame.operations.privacy.export import TITLES

NUMBERS = {"student_number", "other_number", "merged_into", "key"}
"""What columns are called that hold a student number."""

NO_PERSON = {
    "api_answers.sealed": "opened by the program alone",
    "api_tokens.scopes": "roles and names of acts",
    "audit.detail": "persons stand in it as digests: `pipeline.audit.chain`",
    "canary_steps.cause": "the canary is no person",
    "closings.closing": "a word of ours",
    "erasures.noted": "counts and times",
    "erasures.receipt": "the pseudonym",
    "imports.detail": "no personal data of students: `ImportDetail`",
    "imports.summary": "counts",
    "imports.file_name": "the registrar's file",
    "store_life.shut_why": "what two stores are",
}


def test_every_table_says_whose_its_rows_are() -> None:
    assert [table for table in metadata.tables.values() if "persons" not in table.info] == []
    for table in metadata.tables.values():
        said = persons.declared(table)
        assert {*said.columns, *said.named_in} <= set(table.c.keys()), table.name
        assert said.columns or said.why, table.name
        assert (said.on_erasure is OnErasure.NOTHING) == (not said.columns), table.name
        assert (said.on_erasure is OnErasure.OWN) == (persons.forgetter(table) is not None), table.name


def test_an_export_says_in_words_what_each_table_holds() -> None:
    assert {table.name for table in metadata.tables.values() if persons.declared(table).columns} == set(
        TITLES
    )


def test_no_column_with_a_student_number_is_without_an_owner() -> None:
    """A column of a number's width is one, unless its name says otherwise; so is what is called like one."""
    for table in metadata.tables.values():
        owned = persons.declared(table).columns
        called = {column.name for column in table.c if column.name in NUMBERS}
        assert called <= set(owned), f"{table.name}: {called - set(owned)} may be a person's"


def test_no_text_that_stays_may_name_a_person_without_being_looked_through() -> None:
    """Where rows stay, or are another person's, each free text is named, or is known to hold nobody."""
    stays = {OnErasure.NOTHING, OnErasure.PSEUDONYM, OnErasure.OWN}
    found = [
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.c
        if isinstance(column.type, Text) and persons.declared(table).on_erasure in stays
        if column.name not in persons.declared(table).named_in
    ]
    assert sorted(set(found) - set(NO_PERSON)) == []
