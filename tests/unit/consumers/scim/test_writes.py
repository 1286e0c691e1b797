"""Writes in bulk: as many as the service takes, and each by what was answered to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consumers.kit.connector import ConnectorContext
from consumers.kit.deadline import Deadline
from consumers.kit.http import HttpAnswer
from consumers.scim.service import ScimService
from consumers.scim.settings import ScimSettings
from consumers.scim.writes import Operation, write
from pipeline.errors import Throttled


class Stub:
    """A service that notes what it is sent, and answers to bulk as it is told."""

    def __init__(
        self,
        results: Any = None,
        status: int = 200,
        *,
        operations: int = 10,
        size: int = 0,
        taken: int = 1000,
    ) -> None:
        self._taken = taken
        self.sent: list[tuple[str, str, Any]] = []
        self._results = results
        self._status = status
        self._bulk = {"supported": True, "maxOperations": operations, "maxPayloadSize": size}

    def call(self, method: str, path: str, _deadline: Deadline, **how: Any) -> HttpAnswer:
        if path == "/ServiceProviderConfig":
            return HttpAnswer(200, json.dumps({"bulk": self._bulk}).encode())
        self.sent.append((method, path, how["body"]))
        if path != "/Bulk":
            return HttpAnswer(204, b"", wrote=True)
        asked = how["body"]["Operations"]
        if len(asked) > self._taken:
            return HttpAnswer(413, b"", wrote=True)
        results = [self._results(each) for each in asked] if self._results else []
        return HttpAnswer(
            self._status, json.dumps({"Operations": [one for one in results if one]}).encode(), wrote=True
        )


def sent(stub: Stub, count: int = 5) -> dict[str, int]:
    settings = ScimSettings(url="https://scim.univ-exemple.fr/v2")
    context = ConnectorContext(name="scim", settings=settings, secret=lambda _name: pytest.fail("no secret"))
    service = ScimService(context, stub)  # type: ignore[arg-type]
    operations = [Operation(f"k{n}", "PATCH", f"/Users/{n}", {"n": n}, f'"{n}"') for n in range(count)]
    return {one.key: written.status for one, written in write(service, operations, Deadline.after(60.0))}


def ok(each: dict[str, Any]) -> dict[str, Any]:
    return {"bulkId": each["bulkId"], "status": "200", "location": f"https://x/v2{each['path']}"}


def test_operations_carry_their_version() -> None:
    stub = Stub(ok)
    assert sent(stub, 2) == {"k0": 200, "k1": 200}
    [(method, path, body)] = stub.sent
    assert (method, path) == ("POST", "/Bulk")
    assert body["Operations"][1] == {
        "method": "PATCH",
        "bulkId": "1",
        "path": "/Users/1",
        "version": '"1"',
        "data": {"n": 1},
    }


def test_no_more_operations_than_the_service_takes() -> None:
    stub = Stub(ok, operations=2)
    assert sent(stub) == {f"k{n}": 200 for n in range(4)} | {"k4": 204}
    assert [path for _, path, _ in stub.sent] == ["/Bulk", "/Bulk", "/Users/4"]


def test_no_larger_body_than_the_service_takes() -> None:
    stub = Stub(ok, size=500)
    assert set(sent(stub, 20)) == {f"k{n}" for n in range(20)}
    sizes = [len(json.dumps(body).encode()) for _, path, body in stub.sent if path == "/Bulk"]
    assert sizes
    assert max(sizes) <= 500


def test_each_by_its_own_status() -> None:
    def results(each: dict[str, Any]) -> dict[str, Any]:
        return {**ok(each), "status": {"0": "200", "1": 412, "2": {"code": "400"}}[each["bulkId"]]}

    assert sent(Stub(results), 3) == {"k0": 200, "k1": 412, "k2": 400}


def test_answers_without_bulk_id_are_known_by_their_place() -> None:
    def results(each: dict[str, Any]) -> dict[str, Any]:
        return {"status": "200" if each["path"] == "/Users/1" else "404", "location": f"/v2{each['path']}"}

    assert sent(Stub(results), 3) == {"k0": 404, "k1": 200, "k2": 404}


def test_what_nothing_is_said_of_is_unknown() -> None:
    assert sent(Stub(lambda each: ok(each) if each["bulkId"] == "0" else None), 3) == {
        "k0": 200,
        "k1": 0,
        "k2": 0,
    }


def test_one_that_was_throttled_throttles() -> None:
    with pytest.raises(Throttled):
        sent(Stub(lambda each: {**ok(each), "status": "429"}))


def test_bulk_that_is_refused_is_done_one_by_one_from_then_on() -> None:
    stub = Stub(status=501, operations=2)
    assert set(sent(stub).values()) == {204}
    assert [path for _, path, _ in stub.sent].count("/Bulk") == 1


def test_what_is_too_large_all_the_same_is_halved() -> None:
    stub = Stub(ok, taken=2)
    assert sent(stub, 4) == {f"k{n}": 200 for n in range(4)}
    assert [len(body["Operations"]) for _, path, body in stub.sent if path == "/Bulk"] == [4, 2, 2]
