"""A backup was made, then a person was erased: neither the backup nor its restore gives the person back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.audit.verification import verify as verify_audit
from pipeline.vault import new_key
from schemas import catalogue
from sesame.operations.backup import acts as backups
from sesame.operations.backup.acts import BackupRequest, RestoreRequest
from sesame.operations.restored import life
from sesame.operations.restored.admission import Notes
from sesame.testing.servers.registry_kit import enrolled
from tests.integration.site_kit import Site, running
from tests.integration.test_erasure import (
    DPO,
    LEA,
    OTHERWISE,
    PAUL,
    TRACES,
    YEAR,
    complete,
    enrol,
    erase,
    erased,
    live_through,
    login,
    traces,
)
from tests.waiting import until

TARGETS = ("directory", "mailbox", "moodle")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A site's, with the key of privacy."""
    made = tmp_path / "site"
    with closing(opened(made)) as site:
        key = site.settings.privacy_key_file
        key.touch(mode=0o600)
        key.write_text(new_key(), encoding="ascii")
    return made


def opened(folder: Path) -> Site:
    return Site(folder, f"targets = {json.dumps(TARGETS)}\n", in_memory=TARGETS)


def back_up(site: Site) -> Path:
    request = BackupRequest(folder=site.settings.data_dir / "backups")
    made = backups.back_up(
        site, DPO, request, metadata=site.tables, clock=lambda: datetime.now(UTC), version="test"
    )
    return made.folder


def restore(site: Site, backup: Path) -> int:
    """Put it back, as if every target had been looked at since; return how many were left out."""
    request = RestoreRequest(folder=backup)
    done = backups.restore(site, DPO, request, clock=lambda: datetime.now(UTC), in_use=lambda _path: iter(()))
    if done.kept is not None:
        shutil.rmtree(done.kept)
    return done.restored.erased


def believe(site: Site) -> None:
    with site.database.write() as connection:
        beats = life.reopen(connection, site.database.now(connection), above=10_000)
        name = life.of(connection, site.database).name
    Notes.of(site).write(name, beats)


@pytest.fixture
def restored(folder: Path) -> Iterator[tuple[Site, str]]:
    """A site that was backed up before Léa was erased, and put back after; with the login that was hers."""
    with closing(opened(folder)) as site, running(site):
        live_through(site)
        before = login(site)
        backup = back_up(site)
        for content in (each.read_bytes() for each in backup.iterdir()):
            assert not [trace for trace in TRACES if trace.encode() in content]
        erased(site, erase(site))
        assert traces(site) == [], "in no backup, and in no copy of the keys"
    with closing(opened(folder)) as site:
        assert restore(site, backup) == 1
    with closing(opened(folder)) as site:
        yield site, before


def test_the_erased_stay_erased_and_their_names_taken(restored: tuple[Site, str]) -> None:
    site, before = restored
    assert traces(site) == []
    assert verify_audit(site.database).breaks == []
    believe(site)
    with running(site):
        until(lambda: complete(site, PAUL), site.letters)
        site.say(enrolled("22607733", 1, year=YEAR, **OTHERWISE), catalogue.ENROLMENTS)
        until(lambda: login(site, "22607733") != "")
        assert login(site, "22607733") == f"{before}2"
        assert login(site, LEA) == ""
        assert site.letters() == []


def test_who_comes_back_after_it_has_the_names_of_before(restored: tuple[Site, str]) -> None:
    site, before = restored
    believe(site)
    with running(site):
        enrol(site, sequence=3)
        until(lambda: login(site) != "")
        assert login(site) == before
        assert site.letters() == []
