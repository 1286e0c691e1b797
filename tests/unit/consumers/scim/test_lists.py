"""Lists of a service that tells no truth about them: everybody once, or a clear error, and always an end."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from consumers.kit.connector import ConnectorContext
from consumers.kit.deadline import Deadline
from consumers.kit.http import HttpAnswer
from consumers.scim import service as scim_service
from consumers.scim.service import ScimService, UnexpectedStatus
from consumers.scim.settings import ScimSettings
from pipeline.errors import Misconfigured

CONFIG: dict[str, Any] = {"patch": {"supported": True}, "filter": {"supported": True, "maxResults": 200}}
CURSOR = {**CONFIG, "pagination": {"cursor": True, "index": False}}
CALLS_MAX = 5000

Give = Callable[[Mapping[str, str]], Any]


class Stub:
    """A service's side of a list: one function of the query."""

    def __init__(self, give: Give, config: dict[str, Any]) -> None:
        self._give = give
        self._config = config
        self.asked: list[Mapping[str, str]] = []

    def call(self, _method: str, path: str, _deadline: Deadline, **how: Any) -> HttpAnswer:
        if path == "/ServiceProviderConfig":
            return HttpAnswer(200, json.dumps(self._config).encode())
        self.asked.append(how["params"])
        assert len(self.asked) < CALLS_MAX, "it never ends"
        given = self._give(how["params"])
        if isinstance(given, int):
            return HttpAnswer(given, b"{}")
        return HttpAnswer(200, json.dumps(given).encode())


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten objects are asked for at once."""
    monkeypatch.setattr(scim_service, "PAGE_SIZE", 10)


def listed(give: Give, config: dict[str, Any] = CONFIG) -> list[str]:
    return [each["id"] for each in service(give, config)[0].everybody("/Users", soon)]


def service(give: Give, config: dict[str, Any] = CONFIG) -> tuple[ScimService, Stub]:
    stub = Stub(give, config)
    settings = ScimSettings(url="https://scim.univ-exemple.fr/v2")
    context = ConnectorContext(name="scim", settings=settings, secret=lambda _name: pytest.fail("no secret"))
    return ScimService(context, stub), stub  # type: ignore[arg-type]


def soon() -> Deadline:
    return Deadline.after(60.0)


def ids(first: int, last: int) -> list[dict[str, str]]:
    return [{"id": str(n)} for n in range(first, last)]


EVERYBODY = [str(n) for n in range(35)]


def honest(query: Mapping[str, str]) -> dict[str, Any]:
    start, count = int(query["startIndex"]) - 1, int(query["count"])
    return {"totalResults": 35, "Resources": ids(start, min(start + count, 35))}


def test_everybody_of_an_honest_service_in_four_pages() -> None:
    one, stub = service(honest)
    assert [each["id"] for each in one.everybody("/Users", soon)] == EVERYBODY
    assert [each["startIndex"] for each in stub.asked] == ["1", "11", "21", "31"]


def test_a_page_is_never_larger_than_the_service_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scim_service, "PAGE_SIZE", 500)
    one, stub = service(honest)
    list(one.everybody("/Users", soon))
    assert {each["count"] for each in stub.asked} == {"200"}


def test_fewer_than_asked_for_is_not_the_end() -> None:
    assert listed(lambda query: honest({**query, "count": "4"})) == EVERYBODY


def test_an_empty_list() -> None:
    assert listed(lambda _query: {"totalResults": 0}) == []


def test_a_total_of_the_page_alone_is_not_the_end() -> None:
    def give(query: Mapping[str, str]) -> dict[str, Any]:
        page = honest(query)
        return {**page, "totalResults": len(page["Resources"])}

    assert listed(give) == EVERYBODY


def test_an_order_that_changes_is_read_until_nobody_is_missing() -> None:
    chance = random.Random(1)  # noqa: S311

    def give(query: Mapping[str, str]) -> dict[str, Any]:
        start, count = int(query["startIndex"]) - 1, int(query["count"])
        people = ids(0, 35)
        chance.shuffle(people)
        return {"totalResults": 35, "Resources": people[start : start + count]}

    assert sorted(listed(give), key=int) == EVERYBODY


@pytest.mark.parametrize(
    ("config", "give"),
    [
        pytest.param(CONFIG, lambda _query: {"totalResults": 35, "Resources": ids(0, 10)}, id="same page"),
        pytest.param(
            CONFIG,
            lambda _query: {"totalResults": 10**9, "Resources": ids(0, 10)},
            id="same page, huge total",
        ),
        pytest.param(
            CONFIG,
            lambda query: {"totalResults": 35, "Resources": ids(0, 10) if query["startIndex"] == "1" else []},
            id="cut after a page",
        ),
        pytest.param(CURSOR, lambda _query: {"nextCursor": "abc", "Resources": ids(0, 10)}, id="same cursor"),
        pytest.param(
            CURSOR,
            lambda query: {"nextCursor": {"a": "b"}.get(query["cursor"], "a"), "Resources": ids(0, 10)},
            id="cursors in a circle",
        ),
        pytest.param(CURSOR, lambda _query: {"nextCursor": "abc", "Resources": []}, id="empty pages"),
        pytest.param(
            CURSOR,
            lambda query: 400 if query["cursor"] else {"nextCursor": "a", "Resources": ids(0, 10)},
            id="each cursor expires",
        ),
    ],
)
def test_a_list_that_cannot_be_read_to_its_end_says_so(config: dict[str, Any], give: Give) -> None:
    with pytest.raises(Misconfigured, match="cannot be read to its end"):
        listed(give, config)


def test_cursors_are_followed() -> None:
    def give(query: Mapping[str, str]) -> dict[str, Any]:
        assert "startIndex" not in query
        start = int(query["cursor"] or 0)
        page: dict[str, Any] = {"Resources": ids(start, min(start + 10, 35))}
        return {**page, "nextCursor": str(start + 10)} if start + 10 < 35 else page

    assert listed(give, CURSOR) == EVERYBODY


def test_a_cursor_that_expires_once_is_begun_anew() -> None:
    expired = iter([True])

    def give(query: Mapping[str, str]) -> Any:
        start = int(query["cursor"] or 0)
        if start == 20 and next(expired, False):
            return 400
        page: dict[str, Any] = {"Resources": ids(start, min(start + 10, 35))}
        return {**page, "nextCursor": str(start + 10)} if start + 10 < 35 else page

    assert listed(give, CURSOR) == EVERYBODY


def test_an_order_that_is_announced_and_refused_is_not_asked_for_again() -> None:
    config = {**CONFIG, "sort": {"supported": True}}
    one, stub = service(lambda query: 400 if "sortBy" in query else honest(query), config)
    assert [each["id"] for each in one.everybody("/Users", soon)] == EVERYBODY
    assert sum("sortBy" in each for each in stub.asked) == 1


def test_a_service_that_lists_nobody_is_the_operators_to_mend() -> None:
    with pytest.raises(Misconfigured, match="does not list Users"):
        listed(lambda _query: 400)


def test_a_search_that_is_not_answered_is_one_students() -> None:
    with pytest.raises(UnexpectedStatus, match="500"):
        list(service(lambda _query: 500)[0].find("/Users", 'userName eq "a"', soon()))


def test_a_search_that_finds_nobody_may_be_answered_with_404() -> None:
    assert list(service(lambda _query: 404)[0].find("/Users", 'userName eq "a"', soon())) == []


def test_memory_does_not_grow_with_what_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scim_service, "PAGE_SIZE", 100)

    def give(query: Mapping[str, str]) -> dict[str, Any]:
        start, count = int(query["startIndex"]) - 1, int(query["count"])
        people = [{"id": str(n), "displayName": "x" * 1000} for n in range(start, min(start + count, 20_000))]
        return {"totalResults": 20_000, "Resources": people}

    one, _ = service(give)
    list(zip(range(500), one.everybody("/Users", soon), strict=False))  # what is loaded once
    tracemalloc.start()
    assert sum(1 for _ in one.everybody("/Users", soon)) == 20_000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 6_000_000, "20,000 users of 1 kB would be 20 MB"
