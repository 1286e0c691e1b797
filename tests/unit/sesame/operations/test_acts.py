"""Every act stands once in the table of rights, and is refused to whoever has no role for it."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sesame import operations
from sesame.operations.acts import RIGHTS, Actor, ActRefused, Role, UnknownTarget, act
from sesame.operations.adoption.acts import LinkRequest, link
from sesame.operations.blast_radius import PreviewRequest, preview
from sesame.operations.provisioning import Provision, provision
from sesame.operations.replays import ReplayFilter, select


def acts() -> Counter[str]:
    """The acts that the modules of `operations` define, by the name of the audit."""
    found: Counter[str] = Counter()
    for module in pkgutil.walk_packages(operations.__path__, "sesame.operations."):
        for function in vars(importlib.import_module(module.name)).values():
            if getattr(function, "__module__", "") == module.name and hasattr(function, "act"):
                found[function.act] += 1
    return found


def test_each_act_of_the_table_is_one_function() -> None:
    assert acts() == Counter(list(RIGHTS))


def test_who_administers_may_do_everything() -> None:
    assert [name for name, roles in RIGHTS.items() if Role.ADMINISTRATOR not in roles] == []


def test_who_has_no_role_for_an_act_is_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RIGHTS, "door.open", frozenset({Role.OPERATOR}))
    done: list[str] = []

    @act("door.open")
    def open_door(site: str, actor: Actor) -> None:
        done.append(f"{site} by {actor.name}")

    with pytest.raises(ActRefused, match=r"camille may not do door\.open"):
        open_door("cellar", Actor("camille", frozenset({Role.SUPPORT, Role.REGISTRAR})))
    assert done == []
    open_door("cellar", Actor("camille", frozenset({Role.SUPPORT, Role.OPERATOR})))
    assert done == ["cellar by camille"]


def test_an_act_for_a_target_that_the_settings_do_not_name_does_nothing() -> None:
    site: Any = SimpleNamespace(settings=SimpleNamespace(targets=("directory", "moodle")))
    camille = Actor("camille", frozenset(Role))
    acts: list[Callable[[], object]] = [
        lambda: select(site, camille, ReplayFilter(consumer="nobody", everybody=True)),
        lambda: preview(site, camille, PreviewRequest(consumer="nobody", students=("1",), selected=1)),
        lambda: link(
            site, camille, LinkRequest(student_number="1", object="17", target="nobody", reason="seen")
        ),
        lambda: provision(site, camille, Provision(student_number="1", targets=("nobody",)), print),
    ]
    for one in acts:
        with pytest.raises(UnknownTarget, match="'nobody' is none of directory, moodle"):
            one()
