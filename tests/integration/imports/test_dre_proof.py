"""The nightly proof: the DRE in miniature on a real PostgreSQL, beside a live flow that missed some."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipeline.db.database import Database
from producers.registrar.pegase.dre import DreUnusable
from sandbox.pegase import Pegase, dre
from sesame.acts.acts import Actor, ActRefused, Role
from sesame.operations.imports.proof import Proof, ProofRequest, prove
from sesame.settings import Settings
from sesame.testing.servers import stores
from tests.integration.imports.test_pegase_polls import OFFICE, Site, many

HIDDEN = 20


@pytest.fixture
def copy(shelf: stores.Shelf) -> str:
    """The address of an empty database, for the DRE."""
    with psycopg.connect(url := shelf.empty()) as connection:
        connection.execute("DROP SCHEMA IF EXISTS schema_ins CASCADE")
    return url


@pytest.fixture
def site(pegase: Pegase, store_url: str, tmp_path: Path) -> Iterator[Site]:
    with closing(Database(store_url)) as database:
        yield Site(Settings(data_dir=tmp_path, pegase={"url_file": pegase.url_file}), database)


def proof(site: Site, url: str, tmp_path: Path, actor: Actor = OFFICE) -> Proof:
    file = tmp_path / "dre"
    file.touch(mode=0o600)
    file.write_text(url, encoding="utf-8")
    return prove(site, actor, ProofRequest(url_file=file))


def told(several: tuple[Any, ...]) -> list[tuple[str, int, str, str]]:
    return [(one.student_number, one.year, one.step, one.step_version) for one in several]


@pytest.mark.parametrize("release", ["V31", "V32"])
def test_of_a_thousand_enrolments_the_hidden_are_found_and_none_is_invented(
    pegase: Pegase, site: Site, copy: str, tmp_path: Path, release: str
) -> None:
    rows = many(1_000, ago=3_600)
    hidden = random.Random(5).sample(range(1_000), HIDDEN)  # noqa: S311
    pegase.put(row for place, row in enumerate(rows) if place not in hidden)
    pegase.fault(status=500)
    pegase.fault(html=True)
    assert site.poll().imported == 1_000 - HIDDEN
    dre.fill(copy, rows, release=release)
    found = proof(site, copy, tmp_path)
    assert (found.form, found.dre, found.live) == (release, 1_000, 1_000 - HIDDEN)
    expected = sorted(rows[place]["codeApprenant"] for place in hidden)
    assert [one[0] for one in told(found.missed)] == expected
    assert {one[1:] for one in told(found.missed)} == {(2026, "L1INFO", "261")}
    assert found.extra == ()
    pegase.put(rows)
    site.poll(since=time.time() - 7_200.0)
    again = proof(site, copy, tmp_path)
    assert (again.missed, again.extra, again.live) == ((), (), 1_000), "what the flow brought is no finding"


def test_what_the_copy_does_not_have_any_more_is_told_and_what_is_newer_is_not(
    pegase: Pegase, site: Site, copy: str, tmp_path: Path
) -> None:
    """Of six one is cancelled there, one gone there, one cancelled on both sides; one came later."""
    rows = many(6, ago=60)
    pegase.put(rows)
    site.now = site.now.fromtimestamp(time.time() - 3_600, site.now.tzinfo)
    site.poll()
    late = many(7, ago=10)[6]
    cancelled = rows[2] | {"statutInscription": "annulee"}
    pegase.put([late, cancelled | {"derniereModification": int(time.time()) - 10}])
    site.now = site.now.fromtimestamp(time.time() + 60, site.now.tzinfo)
    site.poll()
    dre.fill(copy, [rows[0] | {"statutInscription": "annulee"}, cancelled, *rows[3:]])
    found = proof(site, copy, tmp_path)
    assert [one[0] for one in told(found.extra)] == [rows[0]["codeApprenant"], rows[1]["codeApprenant"]]
    assert found.missed == ()
    assert found.live == 6


def unusable(site: Site, url: str, tmp_path: Path) -> DreUnusable:
    with pytest.raises(DreUnusable) as refused:
        proof(site, url, tmp_path)
    assert refused.value.remedy
    return refused.value


def test_an_empty_database_and_a_half_imported_one_are_said_and_accuse_nobody(
    pegase: Pegase, site: Site, copy: str, tmp_path: Path
) -> None:
    assert "no schema_ins.inscription" in str(unusable(site, copy, tmp_path))
    rows = many(30, ago=60)
    pegase.put(rows)
    site.poll()
    dre.fill(copy, rows[:10])
    assert "10 of our 30" in str(unusable(site, copy, tmp_path))
    dre.fill(copy, [])
    assert "half imported" in str(unusable(site, copy, tmp_path))


def test_an_unknown_release_names_the_columns(site: Site, copy: str, tmp_path: Path) -> None:
    dre.fill(copy, many(1))
    with psycopg.connect(copy) as connection:
        connection.execute("ALTER TABLE schema_ins.inscription RENAME statut_inscription TO statut")
    refused = unusable(site, copy, tmp_path)
    assert "statut_inscription" in str(refused)
    assert "code_apprenant" not in str(refused)


def test_a_server_that_is_away_is_said_without_the_password(site: Site, tmp_path: Path) -> None:
    refused = unusable(site, "postgresql://lecteur:tres-secret@127.0.0.1:9/dre", tmp_path)
    assert "cannot be read" in str(refused)
    assert "tres-secret" not in f"{refused}{refused.remedy}{refused.__cause__}"


def test_a_viewer_may_not_prove(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ActRefused):
        proof(site, "postgresql://127.0.0.1/dre", tmp_path, Actor("ana", frozenset({Role.VIEWER})))
