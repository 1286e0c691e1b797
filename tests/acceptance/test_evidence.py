"""Evidence on real servers: none on a clean population, and each planted violation is found, alone."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import make_url

from sandbox.demo import play
from sandbox.demo.program import DONE, FAILED
from sandbox.demo.world import World
from sesame.testing.servers import require_service
from tests.acceptance.acting import settle
from tests.docs.documents import ROOT

pytestmark = pytest.mark.timeout(1800)

STUDENTS: Final = 40
DAY_S: Final = 86_400.0
FRAMEWORKS: Final = ("recyf", "cnil-passwords", "cnil-logs")
PAGE: Final = ROOT / "docs" / "how-to" / "hand-over-evidence.md"

Found = frozenset[tuple[str, str]]
"""Exceptions: the measure's name, and the student number, or a word of what is seen."""


class Site:
    """A world, its store by the database's own driver, and what its evidence says."""

    def __init__(self, world: World, numbers: list[str]) -> None:
        self.world, self._numbers = world, iter(numbers)
        self.data = world.private / "data"
        self.named: dict[str, set[str]] = {}
        self.reports: dict[str, list[dict[str, Any]]] = {}

    def somebody(self) -> str:
        """A complete student whom no plant has used."""
        return next(self._numbers)

    def sql(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Run a statement, past the product."""
        if self.world.postgres is None:
            with closing(sqlite3.connect(self.data / "sesame.db", timeout=30, isolation_level=None)) as store:
                store.row_factory = sqlite3.Row
                return [dict(row) for row in store.execute(query, values)]
        url = make_url(self.world.postgres.url()).set(drivername="postgresql")
        with psycopg.connect(
            url.render_as_string(hide_password=False), autocommit=True, row_factory=dict_row
        ) as server:
            done = server.execute(query.replace("?", "%s").encode(), values)
            return done.fetchall() if done.description else []

    def tamper(self) -> None:
        """Let the audit be changed, as the database's owner can."""
        if self.world.postgres is not None:
            self.sql("ALTER TABLE audit DISABLE TRIGGER USER")
            return
        for each in self.sql("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'"):
            self.sql(f'DROP TRIGGER "{each["name"]}"')

    def account(self, number: str, **changes: Any) -> dict[str, Any]:
        """An account's document, with these changes written."""
        [row] = self.sql("SELECT document FROM accounts WHERE student_number = ?", number)
        document: dict[str, Any] = json.loads(row["document"]) | changes
        self.sql("UPDATE accounts SET document = ? WHERE student_number = ?", json.dumps(document), number)
        return document

    def evidence(self) -> Found:
        """All exceptions of all frameworks."""
        found = set()
        for framework in FRAMEWORKS:
            said = self.world.sesame.run(
                "evidence", "--framework", framework, "--json", allowed=(DONE, FAILED)
            )
            measures = said.json()
            assert said.code == (FAILED if any(each["exceptions"] for each in measures) else DONE)
            for each in measures:
                assert each["query"]
                assert each["at"]
                self.named |= {each["measure"].split()[-1]: set(each["figure"])}
                self.named.setdefault("", set()).update(*(one["data"] for one in each["exceptions"]))
                self.reports[each["measure"].split()[-1]] = each["reports"]
                found |= {
                    (each["measure"].split()[-1], one["number"] or json.dumps(one["data"]))
                    for one in each["exceptions"]
                }
        return frozenset(found)

    def setting(self, section: str, line: str) -> None:
        """Add a line to a section of the settings."""
        text = self.world.settings_file.read_text("utf-8")
        head = f"[{section}]\n"
        text = re.sub(rf"^{line.split(maxsplit=1)[0]} = .*\n", "", text, flags=re.MULTILINE)
        text = text.replace(head, f"{head}{line}\n") if head in text else f"{text}\n{head}{line}\n"
        self.world.settings_file.write_text(text, "utf-8")


def ago(days: float) -> float:
    return time.time() - days * DAY_S


def day(days: float) -> str:
    return (datetime.now(UTC).date() - timedelta(days=days)).isoformat()


def open_after_its_end(site: Site) -> Found:
    """An account is open 8 days after its end."""
    number = site.somebody()
    site.account(number, stage="grace", valid_until=day(8))
    site.sql("UPDATE accounts SET stage = 'grace' WHERE student_number = ?", number)
    return frozenset({("departures", number)})


def never_complete(site: Site) -> Found:
    """An account activated two days ago is not complete."""
    number = site.somebody()
    site.sql(
        "UPDATE propagation SET state = 'in_progress', opened_at = ? WHERE student_number = ?",
        ago(2),
        number,
    )
    return frozenset({("arrivals", number)})


def failure_forgotten(site: Site) -> Found:
    """A failure has been there for 8 days."""
    number = site.somebody()
    dead_letter(site, "forgotten", number, recorded_at=ago(8), resolved_at=None)
    return frozenset({("failures", number)})


def expired_but_open_there(site: Site) -> Found:
    """An expired account was not shut at a target for 8 days."""
    number = site.somebody()
    document = site.account(number, stage="expired", valid_until=day(9))
    site.sql("UPDATE accounts SET stage = 'expired', changed_at = ? WHERE student_number = ?", ago(8), number)
    behind(site, number, document)
    return frozenset({("closings", number)})


def held_but_open_there(site: Site) -> Found:
    """A suspended account was not shut at a target for 2 days."""
    number = site.somebody()
    document = site.account(number, holds=["suspended"])
    site.sql("UPDATE accounts SET changed_at = ? WHERE student_number = ?", ago(2), number)
    behind(site, number, document)
    return frozenset({("closings", number)})


def right_without_reason(site: Site) -> Found:
    """A cohort follows from no enrolment."""
    number = site.somebody()
    [row] = site.sql("SELECT document FROM accounts WHERE student_number = ?", number)
    stranger = {"key": "M2DROIT-2026", "name": "Droit", "requires": "administrative", "met": True}
    site.account(number, cohorts=[*json.loads(row["document"])["cohorts"], stranger])
    return frozenset({("rights", number)})


def account_without_enrolment(site: Site) -> Found:
    """An active account has no enrolment."""
    number = site.somebody()
    site.sql("DELETE FROM enrolments WHERE student_number = ?", number)
    return frozenset({("rights", number)})


def two_numbers_one_ine(site: Site) -> Found:
    """Two open accounts have one INE."""
    pair = site.somebody(), site.somebody()
    for number, ine in zip(pair, ("0ab12345678", "0AB12345678"), strict=True):
        site.sql("UPDATE people SET ine = ? WHERE student_number = ?", ine, number)
    return frozenset(("persons", number) for number in pair)


def two_numbers_one_name(site: Site) -> Found:
    """Two open accounts have one name and birth date."""
    one, other = site.somebody(), site.somebody()
    [row] = site.sql("SELECT identity FROM people WHERE student_number = ?", one)
    shouted = {
        name: value.upper() if name.endswith("name") and value else value
        for name, value in json.loads(row["identity"]).items()
    }
    site.sql("UPDATE people SET identity = ? WHERE student_number = ?", json.dumps(shouted), other)
    return frozenset({("persons", one), ("persons", other)})


def logins_that_differ_by_case(site: Site) -> Found:
    """Two accounts have one login but for its case."""
    one, other = site.somebody(), site.somebody()
    login = site.account(one)["login"].upper()
    site.account(other, login=login)
    site.sql("UPDATE accounts SET login = ? WHERE student_number = ?", login, other)
    return frozenset({("logins", one), ("logins", other)})


def address_of_another(site: Site) -> Found:
    """An alias is another account's address."""
    one, other = site.somebody(), site.somebody()
    site.account(other, aliases=[site.account(one)["mail"]])
    return frozenset({("logins", one), ("logins", other)})


def login_of_another_in_the_ledger(site: Site) -> Found:
    """The ledger gives an account's login to somebody else."""
    number = site.somebody()
    login = site.account(number)["login"]
    site.sql("UPDATE ledger SET student_number = NULL WHERE kind = 'login' AND value = ?", login)
    return frozenset({("logins", number)})


def login_used_from_two_accounts(site: Site) -> Found:
    """One login is used from the accounts of two persons."""
    pair = site.somebody(), site.somebody()
    login = site.account(pair[0])["login"]
    for number, spelt in zip(pair, (login, login.upper()), strict=True):
        session(site, f"twice {number}", login=spelt, student_number=number)
    return frozenset(("logins", number) for number in pair)


def one_address_to_recover(site: Site) -> Found:
    """Two persons recover their accounts by one address."""
    pair = site.somebody(), site.somebody()
    for number, mail in zip(pair, ("Parents@famille.fr", "parents@famille.fr"), strict=True):
        site.sql("UPDATE people SET personal_mail = ? WHERE student_number = ?", mail, number)
    return frozenset(("recovery", number) for number in pair)


def one_mobile_to_recover(site: Site) -> Found:
    """Two persons recover their accounts by one mobile."""
    pair = site.somebody(), site.somebody()
    for number in pair:
        site.sql("UPDATE people SET mobile = '+33600000001' WHERE student_number = ?", number)
    return frozenset(("recovery", number) for number in pair)


def role_of_a_student(site: Site) -> Found:
    """A student's account has a role at the console."""
    number = site.somebody()
    session(site, "role", login=site.account(number)["login"], student_number=number, roles="operator")
    return frozenset({("administrators", number)})


def act_of_a_student(site: Site) -> Found:
    """A student's login has acted as an operator."""
    number = site.somebody()
    login = site.account(number)["login"].upper()
    site.sql("UPDATE audit SET actor = ? WHERE action = 'backup'", login)
    return frozenset({("administrators", number)})


def token_for_years(site: Site) -> Found:
    """A program's token is valid for years."""
    token(site, "a" * 12, expires_at=ago(-900))
    return frozenset({("programs", "aaaaaaaaaaaa")})


def token_unused(site: Site) -> Found:
    """A program's token has not been used for 91 days."""
    token(site, "b" * 12, created_at=ago(200), last_used_at=ago(91), expires_at=ago(-100))
    return frozenset({("programs", "bbbbbbbbbbbb")})


def key_open_to_others(site: Site) -> Found:
    """Others on the machine can read a key's file."""
    (site.data / "vault.key").chmod(0o640)
    return frozenset({("secret_files", "vault.key")})


def backup_too_old(site: Site) -> Found:
    """No backup was made for 8 days."""
    site.sql("UPDATE audit SET at = ? WHERE action = 'backup'", ago(8))
    return frozenset({("backups", "backup")})


def restore_not_rehearsed(site: Site) -> Found:
    """No restore has been rehearsed for a year."""
    site.sql("UPDATE audit SET at = ? WHERE action = 'backup.verify'", ago(400))
    return frozenset({("rehearsals", "rehearsal")})


def keys_not_copied(site: Site) -> Found:
    """The keys of the backups were not copied for 8 days."""
    for path in (site.world.private / "keys").iterdir():
        os.utime(path, (ago(8), ago(8)))
    return frozenset({("key_copies", "newest_copy")})


def keys_with_the_data(site: Site) -> Found:
    """The keys' copies are where the data is."""
    (site.world.private / "keys").rename(site.data / "keys")
    site.setting("store", f'keys_to = "{site.data}/keys"')
    return frozenset({("key_copies", "with")})


def audit_kept_too_long(site: Site) -> Found:
    """The audit is to be kept for five years."""
    site.setting("store", "audit_days = 1826")
    return frozenset({("logs_kept", "1826")})


def archive_kept_too_long(site: Site) -> Found:
    """An archive of the audit is five years old."""
    (site.data / "audit").mkdir(exist_ok=True)
    (site.data / "audit" / f"audit-{date.today().year - 5}.jsonl").touch()  # noqa: DTZ011
    return frozenset({("logs_kept", "archive")})


def audit_changed(site: Site) -> Found:
    """An entry of the audit was changed."""
    site.sql("UPDATE audit SET actor = 'somebody' WHERE action = 'import'")
    return frozenset({("logs_whole", "entry")})


def session_kept(site: Site) -> Found:
    """A session that ended 30 days ago is still there."""
    session(site, "kept", login="somebody.else", student_number=None, expires_at=ago(30))
    return frozenset({("retention", "cas_sessions")})


def failure_kept(site: Site) -> Found:
    """A failure settled 400 days ago is still there."""
    dead_letter(site, "kept", site.somebody(), recorded_at=ago(401), resolved_at=ago(400))
    return frozenset({("retention", "dead_letters")})


def erasure_not_done(site: Site) -> Found:
    """An erasure was asked for 31 days ago."""
    site.sql(
        "INSERT INTO erasures (id, pseudonym, state, signed_by, actor, reason, asked_at, noted)"
        " VALUES ('e1', 'erased-one', 'gone', 'sha256:0', 'root', 'asked', ?, '{}')",
        ago(31),
    )
    return frozenset({("erased_in_time", "erased-one")})


def short_passwords(site: Site) -> Found:
    """A password may have 8 characters."""
    site.setting("password", "length_min = 8")
    return frozenset({("password_rule", "8")})


def password_kept(site: Site) -> Found:
    """A sealed password is there after its term."""
    number = site.somebody()
    sealed(site, "kept", number, created_at=ago(4), expires_at=ago(3))
    return frozenset({("passwords_sealed", number)})


def password_not_taken(site: Site) -> Found:
    """No target has taken a password for 31 days."""
    number = site.somebody()
    sealed(site, "waits", number, created_at=ago(31), expires_at=None)
    return frozenset({("passwords_sealed", number)})


def review_not_followed(site: Site) -> Found:
    """An account that a review ended 8 days ago is open."""
    number = site.somebody()
    component = site.account(number)["entities"][0]
    site.world.sesame.run("review", "decide", component, number, "--end", "--reason", "gone")
    changed = site.sql("SELECT max(id) AS id FROM audit WHERE action = 'review.decide'")[0]["id"]
    begun = site.sql("SELECT max(id) AS id FROM audit WHERE action = 'review.open'")[0]["id"]
    site.sql("UPDATE audit SET at = ? WHERE id = ?", ago(9), begun)
    site.sql("UPDATE audit SET at = ? WHERE id = ?", ago(8), changed)
    document = json.dumps(site.account(number) | {"stage_since": "2026-01-01"})  # before that decision
    site.sql("UPDATE accounts SET document = ? WHERE student_number = ?", document, number)
    return frozenset({("review_followed", number)})


def review_too_old(site: Site) -> Found:
    """The accounts were reviewed over a year ago."""
    site.sql("UPDATE audit SET at = ? WHERE action = 'review.open'", ago(367))
    return frozenset({("review_done", "over a year ago")})


PLANTS: Final[Mapping[str, Callable[[Site], Found]]] = {
    str(plant.__doc__).rstrip("."): plant
    for plant in (
        *(audit_changed, open_after_its_end, never_complete, failure_forgotten, expired_but_open_there),
        *(held_but_open_there, right_without_reason, account_without_enrolment, two_numbers_one_ine),
        *(two_numbers_one_name, logins_that_differ_by_case, address_of_another),
        *(login_of_another_in_the_ledger, login_used_from_two_accounts, one_address_to_recover),
        *(one_mobile_to_recover, role_of_a_student, act_of_a_student, token_for_years, token_unused),
        *(key_open_to_others, restore_not_rehearsed, session_kept, failure_kept),
        *(erasure_not_done, short_passwords, password_kept, password_not_taken, audit_kept_too_long),
        *(archive_kept_too_long, review_not_followed, review_too_old),
        *(backup_too_old, keys_not_copied, keys_with_the_data),
    )
}
"""The planted violations, by the page's words."""

EMBEDDED: Final = {backup_too_old, keys_not_copied, keys_with_the_data}
"""Those of the embedded store's own backups."""


def behind(site: Site, number: str, document: Mapping[str, Any]) -> None:
    site.sql(
        "UPDATE target_states SET applied_version = ? WHERE student_number = ? AND target = 'moodle'",
        document["version"] - 1 or 1,
        number,
    )
    site.sql("UPDATE accounts SET version = version + 1 WHERE student_number = ?", number)


def dead_letter(site: Site, name: str, number: str, *, recorded_at: float, resolved_at: float | None) -> None:
    site.sql(
        "INSERT INTO dead_letters (id, consumer, student_number, cause, message, attempts, recorded_at,"
        " resolved_at) VALUES (?, 'moodle', ?, 'moodle_broken', '', 1, ?, ?)",
        *(name, number, recorded_at, resolved_at),
    )


def session(
    site: Site,
    name: str,
    *,
    login: str,
    student_number: str | None,
    roles: str | None = None,
    expires_at: float = 0.0,
) -> None:
    site.sql(
        "INSERT INTO cas_sessions (token_hash, ticket_hash, service, login, student_number, roles, opened_at,"
        " expires_at) VALUES (?, ?, 'https://a', ?, ?, ?, ?, ?)",
        *(f"token {name}", f"ticket {name}", login, student_number, roles, ago(1), expires_at or ago(-1)),
    )


def token(
    site: Site,
    id_: str,
    *,
    expires_at: float,
    created_at: float | None = None,
    last_used_at: float | None = None,
) -> None:
    site.sql(
        "INSERT INTO api_tokens (id, digest, name, scopes, created_by, created_at, expires_at, last_used_at)"
        " VALUES (?, 'd', 'program', 'viewer', 'root', ?, ?, ?)",
        *(id_, created_at or ago(1), expires_at, last_used_at),
    )


def sealed(site: Site, ref: str, number: str, *, created_at: float, expires_at: float | None) -> None:
    site.sql(
        "INSERT INTO vault (ref, student_number, purpose, sealed, created_at, expires_at)"
        " VALUES (?, ?, 'password', ?, ?, ?)",
        *(ref, number, b"sealed", created_at, expires_at),
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """Everybody who can be complete is, all is backed up, rehearsed and reviewed; nothing runs any more."""
    postgres = request.param == "postgresql"
    with require_service(lambda: World(tmp_path, postgres=postgres)) as world:
        play.prepare(world)
        cast = play.enrol(world, STUDENTS)
        play.activate(world, cast)
        settle(world, len(cast.students))
        world.pipeline.stop()
        said = play.announced(world)
        done = sorted(number for number, one in said.items() if one.state == "completed")
        made = Site(world, done)
        made.setting("store", f'keys_to = "{world.private}/keys"')
        world.sesame.run("privacy", "init")
        world.sesame.run("backup", "--to", world.private / "backups")
        [backup] = (world.private / "backups").iterdir()
        world.sesame.run("backup", "verify", backup)
        components = world.sesame.run("review", "open", "--json").json()["components"]
        for each in components:
            world.sesame.run("review", "decide", each["component"], "--rest", "--keep")
        left = world.sesame.run("review", "show", "--json").json()["components"]
        assert left
        assert {each["undecided"] for each in left} == {0}
        yield made


def test_nothing_is_found_on_a_clean_site_and_each_planted_violation_is(site: Site) -> None:
    assert site.evidence() == frozenset()
    if site.world.postgres is None:
        [rehearsed] = site.reports["rehearsals"]
        accounts = site.sql("SELECT count(*) AS n FROM accounts")[0]["n"]
        assert (rehearsed["accounts"], rehearsed["result"]) == (accounts, "usable")
        assert {"at", "folder", "made_at", "seconds", "records"} <= rehearsed.keys()
    site.tamper()
    plants = [plant for plant in PLANTS.values() if site.world.postgres is None or plant not in EMBEDDED]
    wanted = [one for plant in plants for one in plant(site)]
    found = site.evidence()
    unseen = [one for one in wanted if not any(matches(one, seen) for seen in found)]
    others = [seen for seen in found if not any(matches(one, seen) for one in wanted)]
    assert (unseen, others) == ([], [])
    tokens = set().union(*site.named.values())
    texts = tomllib.loads((ROOT / "sesame/operations/evidence/frameworks.toml").read_text("utf-8"))["words"]
    shares = ("_count", "_p50_s", "_p95_s", "_p99_s")
    for known in texts.values():
        named = {*known, *(f"{name}{share}" for name in known for share in shares)}
        named |= {name.partition("=")[0] for name in known}
        assert tokens - named == set(), "the page to hand over has words for each"


def matches(wanted: tuple[str, str], seen: tuple[str, str]) -> bool:
    return wanted[0] == seen[0] and wanted[1] in seen[1]


def test_the_page_lists_what_is_planted() -> None:
    rows = [line.split("|") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert set(PLANTS) <= {row[1].strip() for row in rows}
