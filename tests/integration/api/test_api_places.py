"""One token's requests leave the others theirs: places, and processor time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sesame.operations.programs.sent_persons import _LOCKS
from sesame.testing.servers.waiting import until
from sesame.web.api import places, rates
from sesame.web.api.places import OF_ONE
from sesame.web.api.problems import ApiError
from sesame.web.api.rates import Rates, TooManyRequests
from sesame.web.api.scim import scim_app
from tests.integration.api.api_kit import COMPLETED, ApiWorld, Ticking, api_world
from tests.integration.api.scim_in_kit import user


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ApiWorld]:
    with api_world(tmp_path, f"sqlite:///{tmp_path / 'store.db'}") as made:
        yield made


class Stopped:
    """A registry that applies nothing: whoever waits for it waits for the test."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.waiting = 0
        self._turn = threading.Lock()

    def patience(self, _s_max: float) -> Any:
        def wait() -> bool:
            with self._turn:
                self.waiting += 1
            self.go_on.wait(60)
            return False

        return wait


@pytest.mark.parametrize("path", ["/scim/v2/Users", f"/v1/students/{COMPLETED}"])
def test_no_look_waits_behind_what_waits_for_the_registry(
    path: str, world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Stopped()
    # Persons share locks: of two who have one, the second would wait for the first, and not for the registry.
    numbers = {hash(number) % len(_LOCKS): number for number in (f"229{n:05}" for n in range(5_000))}
    apart = list(numbers.values())
    monkeypatch.setattr(scim_app, "_Patience", stopped.patience)
    monkeypatch.setattr(places, "WAIT_S_MAX", 0.5)

    def send(number: int, *scopes: str) -> Any:
        return world.post("/scim/v2/Users", *scopes or ("administrator",), json=user(apart[number]))

    for scope in ("administrator", "registrar"):
        world.token(scope)
    with ThreadPoolExecutor(41) as at_once:
        sent = [at_once.submit(send, number) for number in range(40)]
        until(lambda: stopped.waiting == OF_ONE)
        assert world.get(path).status_code == 200
        until(lambda: sum(each.done() for each in sent) == 40 - OF_ONE)
        other = at_once.submit(send, 40, "registrar")
        until(lambda: stopped.waiting == OF_ONE + 1)
        stopped.go_on.set()
        answers = [each.result() for each in [*sent, other]]
    assert {each.status_code for each in answers} == {503}
    assert all(int(each.headers["retry-after"]) > 0 for each in answers)
    assert sum("places" in each.json()["detail"] for each in answers) == 40 - OF_ONE


def test_who_has_had_the_processor_for_long_waits_and_the_others_do_not(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"filter": 'name.familyName co "e"'}
    assert world.get("/scim/v2/Users", "person.look", params=wanted).status_code == 200
    monkeypatch.setattr(rates, "PROCESSOR_S", 0.0)
    refused = world.get("/scim/v2/Users", "person.look", params=wanted)
    assert (refused.status_code, refused.json()["status"]) == (429, "429")
    assert int(refused.headers["retry-after"]) > 0
    monkeypatch.setattr(rates, "PROCESSOR_S", 1e-9)
    assert world.get("/scim/v2/Users", "registrar", params=wanted).status_code == 200
    world.ticking.now += 60
    assert world.get("/scim/v2/Users", "person.look", params=wanted).status_code == 200


def test_what_a_token_has_spent_is_its_own_and_is_forgotten_after_its_minute() -> None:
    clock = Ticking()
    counted = Rates(clock)
    counted.take("one")
    clock.now = 30.0
    counted.take("other")
    counted.spend("one", rates.PROCESSOR_S / 2)
    counted.take("one")
    counted.spend("one", rates.PROCESSOR_S / 2)
    counted.spend("other", 1.0)
    with pytest.raises(TooManyRequests) as refused:
        counted.take("one")
    assert isinstance(refused.value, ApiError)
    assert refused.value.headers["Retry-After"] == "30"
    counted.take("other")
    clock.now = 60.0
    counted.take("one")
    counted.take("other")
