"""Every act stands once in the table of rights, and is refused to whoever has no role for it."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import audit
from pipeline.db.database import Database
from sesame import operations
from sesame.acts.acts import LOOKS, RIGHTS, Actor, ActRefused, Role, UnknownTarget, act, shown
from sesame.operations.access.provisioning import ProvisionRequest, provision
from sesame.operations.questions.adoption.acts import LinkRequest, link
from sesame.operations.work.blast_radius import PreviewRequest, preview
from sesame.operations.work.replays import ReplaySelectionRequest, select


def acts() -> Counter[tuple[str, bool]]:
    """The acts of the modules of `operations`, by the name of the audit, and whether each shows persons."""
    found: Counter[tuple[str, bool]] = Counter()
    for module in pkgutil.walk_packages(operations.__path__, "sesame.operations."):
        for function in vars(importlib.import_module(module.name)).values():
            if getattr(function, "__module__", "") == module.name and hasattr(function, "act"):
                found[function.act, function.shows is not None] += 1
    return found


def test_each_act_of_the_table_is_one_function() -> None:
    assert sorted(name for name, _ in acts().elements()) == sorted(RIGHTS)


def test_looks_are_the_acts_that_show_persons_and_what_notes_its_own_look() -> None:
    noted = {"completions.follow", "dead_letters.list", "events.poll", "identity.show", "import.show"}
    shows = {name for name, shown in acts() if shown}
    assert shows | noted | {"privacy.receipt", "support.look"} == LOOKS


def test_who_administers_may_do_everything() -> None:
    assert [name for name, roles in RIGHTS.items() if Role.ADMINISTRATOR not in roles] == []


def test_who_has_no_role_for_an_act_is_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RIGHTS, "door.open", frozenset())
    done: list[str] = []

    @act("door.open", frozenset({Role.OPERATOR}))
    def open_door(site: str, actor: Actor) -> None:
        done.append(f"{site} by {actor.name}")

    with pytest.raises(ActRefused, match=r"camille may not do door\.open"):
        open_door("cellar", Actor("camille", frozenset({Role.SUPPORT, Role.REGISTRAR})))
    assert done == []
    open_door("cellar", Actor("camille", frozenset({Role.SUPPORT, Role.OPERATOR})))
    assert done == ["cellar by camille"]


def test_an_act_for_a_target_that_the_settings_do_not_name_does_nothing() -> None:
    settings = SimpleNamespace(targets=("directory", "moodle"), webhooks=SimpleNamespace(receivers={}))
    site: Any = SimpleNamespace(settings=settings)
    camille = Actor("camille", frozenset(Role))
    acts: list[Callable[[], object]] = [
        lambda: select(site, camille, ReplaySelectionRequest(consumer="nobody", everybody=True)),
        lambda: preview(site, camille, PreviewRequest(consumer="nobody", students=("1",), selected=1)),
        lambda: link(
            site, camille, LinkRequest(student_number="1", object="17", target="nobody", reason="seen")
        ),
        lambda: provision(site, camille, ProvisionRequest(student_number="1", targets=("nobody",)), print),
    ]
    for one in acts:
        with pytest.raises(UnknownTarget, match="'nobody' is none of directory, moodle"):
            one()


# --- looks at persons -----------------------------------------------------------------------------

NOBODY_SHOWN = frozenset(
    {
        "audit.verify",
        "backup",
        "backup.verify",
        "canary.run",
        "canary.show",
        "connector.check",
        "connector.list",
        "connector.new",
        "export.day",
        "forecast.coming",
        "forecast.show",
        "rehearsal.play",
        "import.list",
        "incident.show",
        "ledger.refresh",
        "lost_records.accept",
        "lost_records.list",
        "overview.show",
        "privacy.init",
        "privacy.key",
        "privacy.list",
        "privacy.receipt",
        "privacy.standing",
        "privacy.verify",
        "process.forget",
        "process.list",
        "quarantine.lift",
        "quarantine.list",
        "reconcile.latest",
        "replay.list",
        "restore",
        "review.open",
        "students.cohorts",
        "target.list",
        "target.pause",
        "target.probe",
        "target.resume",
        "token.list",
        "vault.init",
    }
)
"""Acts of which nobody learns anything of a person; `reconcile.latest` says again what `reconcile` said."""

NOTED_BY_THEMSELVES = frozenset(
    {
        "access",
        "activate",
        "activate.all",
        "adopt",
        "adopt.activate",
        "adopt.decide",
        "adopt.link",
        "audit.export",
        "completions.follow",
        "dead_letters.dismiss",
        "dead_letters.list",
        "events.poll",
        "evidence",
        "guest.end",
        "guest.invite",
        "import.approve",
        "receiver.try",
        "group.change",
        "group.end",
        "group.make",
        "hold.lift",
        "hold.lift_all",
        "hold.place",
        "hold.place_all",
        "identity.merge",
        "identity.mint_again",
        "identity.preview",
        "identity.separate",
        "identity.settle",
        "identity.show",
        "import",
        "import.collect",
        "import.explain",
        "import.mapping",
        "import.poll",
        "import.show",
        "person.end",
        "person.put",
        "privacy.again",
        "privacy.erase",
        "privacy.export",
        "provision",
        "letter.print",
        "lifecycle.prolong",
        "lifecycle.release",
        "reconcile",
        "reconcile.watch",
        "replay",
        "review.decide",
        "replay.preview",
        "replay.resume",
        "replay.select",
        "replay.standing",
        "replay.stop",
        "restored.answer",
        "restored.check",
        "restored.rebuild",
        "support.look",
        "support.send",
        "token.create",
        "token.revoke",
        "unlock",
    }
)
"""Acts that change something, or refuse when they cannot be noted; to select is to begin a replay."""


def functions() -> dict[str, Any]:
    modules = pkgutil.walk_packages(operations.__path__, "sesame.operations.")
    every = (each for module in modules for each in vars(importlib.import_module(module.name)).values())
    return {each.act: each for each in every if hasattr(each, "__dict__") and "shows" in vars(each)}


def test_every_act_that_shows_persons_is_noted() -> None:
    shows = {name for name, function in functions().items() if function.shows is not None}
    assert shows | NOBODY_SHOWN | NOTED_BY_THEMSELVES == set(RIGHTS)
    assert not shows & (NOBODY_SHOWN | NOTED_BY_THEMSELVES)


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.setitem(RIGHTS, "door.look", frozenset())

    @act("door.look", frozenset({Role.SUPPORT}), shows=lambda report, names: shown(names, of=report))
    def look(_site: object, _actor: Actor, names: list[str]) -> str:
        return "cellar"

    return look


def test_a_look_is_noted_once_with_who_few_were_and_how_many(
    database: Database, looking: Callable[..., str]
) -> None:
    site, camille = SimpleNamespace(database=database), Actor("camille", frozenset({Role.SUPPORT}))
    for count in (2, 21, 0):
        assert looking(site, camille, [f"2200{index}" for index in range(count)]) == "cellar"
    with database.read() as connection:
        found = [(each.actor, each.action, each.detail) for each in audit.entries(connection, limit=9)]
    assert found == [
        ("camille", "door.look", {"count": 21, "of": "cellar"}),
        ("camille", "door.look", {"count": 2, "student_numbers": ["22000", "22001"], "of": "cellar"}),
    ]


def test_a_look_that_cannot_be_noted_is_a_look_all_the_same_and_says_so(
    database: Database, looking: Callable[..., str]
) -> None:
    told: list[str] = []
    database.close()
    with database.read() as connection:
        only_reads = (
            "PRAGMA query_only = 1" if database.is_sqlite else "SET default_transaction_read_only = on"
        )
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute(only_reads)
        if not database.is_sqlite:
            raw.commit()
    camille = Actor("camille", frozenset({Role.SUPPORT}), told.append)
    assert looking(SimpleNamespace(database=database), camille, ["22001"]) == "cellar"
    (sentence,) = told
    assert "not in the audit" in sentence
