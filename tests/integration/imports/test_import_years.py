"""Two academic years side by side, from the files to the account: neither takes from the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.events import ActivationRequested
from sesame.testing.servers.registrar_kit import ZOE, Registrar
from sesame.testing.servers.registry_kit import RegistryHarness
from sesame.testing.servers.stores import sqlite_store

THIS_YEAR = ZOE
NEXT_YEAR = ZOE | {
    "COD_ANU": "2027",
    "COD_ETP": "L2INFO",
    "COD_VRS_VET": "271",
    "LIB_ETP": "Licence 2 Informatique",
}
NUMBER = ZOE["COD_ETU"]


class Site:
    """A registrar whose facts a registry applies."""

    def __init__(self, folder: Path) -> None:
        (folder / "registrar").mkdir()
        (folder / "registry").mkdir()
        self.registrar = Registrar(folder / "registrar")
        self.desk = RegistryHarness(sqlite_store(folder / "registry"))

    def import_rows(self, *rows: dict[str, str], full_year: int | None = None) -> None:
        self.registrar.import_rows(*rows, full_year=full_year)
        for message in self.registrar.log.take():
            self.desk.redeliver(message)

    def cohorts(self, *, on: datetime | None = None) -> set[str]:
        """The cohorts that Zoé belongs to, now or when her timer rings on that day."""
        if on is not None:
            self.desk.clock.set(on)
            with self.desk.database.write() as connection:
                self.desk.registry.due(connection, NUMBER, self.desk.clock())
        return {cohort.key for cohort in self.desk.account(NUMBER).cohorts if cohort.met}

    def close(self) -> None:
        self.registrar.close()
        self.desk.database.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.import_rows(THIS_YEAR)
    site.desk.apply(ActivationRequested(student_number=NUMBER))
    yield site
    site.close()


def test_next_years_enrolment_adds_its_cohort_and_takes_none_away_before_this_years_end(site: Site) -> None:
    assert site.cohorts() == {"L1INFO-2026"}
    site.desk.clock.set(datetime(2027, 7, 5, 8, 0, tzinfo=UTC))
    site.import_rows(THIS_YEAR, NEXT_YEAR)
    assert site.cohorts() == {"L1INFO-2026", "L2INFO-2027"}
    assert site.cohorts(on=datetime(2027, 10, 31, 12, 0, tzinfo=UTC)) == {"L1INFO-2026", "L2INFO-2027"}
    assert site.cohorts(on=datetime(2027, 11, 1, 12, 0, tzinfo=UTC)) == {"L2INFO-2027"}


def test_a_file_of_next_year_alone_leaves_this_years_cohort(site: Site) -> None:
    site.desk.clock.set(datetime(2027, 7, 5, 8, 0, tzinfo=UTC))
    site.import_rows(NEXT_YEAR)
    assert site.cohorts() == {"L1INFO-2026", "L2INFO-2027"}


def test_a_full_file_of_next_year_leaves_this_years_cohort(site: Site) -> None:
    site.desk.clock.set(datetime(2027, 7, 5, 8, 0, tzinfo=UTC))
    site.import_rows(NEXT_YEAR, full_year=2027)
    assert site.cohorts() == {"L1INFO-2026", "L2INFO-2027"}


def test_a_full_file_of_this_year_takes_what_it_does_not_have_and_leaves_next_years(site: Site) -> None:
    site.desk.clock.set(datetime(2027, 7, 5, 8, 0, tzinfo=UTC))
    site.import_rows(THIS_YEAR, NEXT_YEAR)
    somebody_else = ZOE | {"COD_ETU": "22600099", "LIB_PR1_IND": "Noé", "COD_NNE_IND": ""}
    site.import_rows(somebody_else, full_year=2026)
    assert site.cohorts() == {"L2INFO-2027"}
