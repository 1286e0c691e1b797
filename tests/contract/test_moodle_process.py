"""The stand-in as a process: durable, guarded, stopped cleanly, and troubled on demand."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.moodle import FaultKind, MoodleStandIn
from sandbox.process import PATIENCE_S, wait_until
from tests.contract.people import add_cohort, count_users
from tests.contract.sending import Client, members, users


def test_what_was_committed_survives_a_kill(tmp_path: Path) -> None:
    moodle = MoodleStandIn(tmp_path).start()
    client = Client(moodle.endpoint, moodle.token)
    created = client.ask("core_user_create_users", users=users("survivor", 20))
    add_cohort(client, "survivors")
    client.ask("core_cohort_add_cohort_members", members=members("survivors", "survivor", 20))
    moodle.kill()
    client.close()
    moodle.start()
    client = Client(moodle.endpoint, moodle.token)
    found = client.ask("core_user_get_users_by_field", field="username", values=["survivor0", "survivor19"])
    cohort = client.ask("core_cohort_get_cohorts")[0]
    held = client.ask("core_cohort_get_cohort_members", cohortids=[cohort["id"]])
    moodle.stop()
    client.close()
    assert [user["id"] for user in found] == [created[0]["id"], created[-1]["id"]]
    assert sorted(held[0]["userids"]) == [user["id"] for user in created]


def test_a_polite_stop_lets_the_running_call_finish(tmp_path: Path) -> None:
    moodle = MoodleStandIn(tmp_path, latency_per_call=0.5).start()
    with ThreadPoolExecutor(1) as threads:
        client = Client(moodle.endpoint, moodle.token)
        running = threads.submit(client.ask, "core_user_create_users", users=users("last", 1))
        wait_until(lambda: bool(moodle.control()["calls"]), "the call to arrive")
        moodle.stop()
        assert running.result()[0]["username"] == "last0"
        client.close()
    assert moodle.pid is None


def test_the_control_interface_needs_its_own_key(moodle: MoodleStandIn) -> None:
    request = urllib.request.Request(  # noqa: S310  (the address is ours)
        f"{moodle.url}/_control", headers={"X-Control-Key": moodle.token}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(request, timeout=PATIENCE_S)
    refused.value.close()
    assert refused.value.code == 403


@pytest.mark.parametrize(
    "wish",
    [
        {"set": {"no_such_condition": True}},
        {"set": {"max_input_vars": "many"}},
        {"set": {"missing_capabilities": ["moodle/no:such"]}},
        {"faults": [{"kind": "no_such_fault"}]},
        {"no_such_key": 1},
    ],
)
def test_a_wish_that_is_not_understood_changes_nothing(moodle: MoodleStandIn, wish: dict[str, Any]) -> None:
    before = moodle.control()
    with pytest.raises(urllib.error.HTTPError) as refused:
        moodle.control(**wish)
    refused.value.close()
    assert refused.value.code == 400
    assert moodle.control() == before


def test_the_secrets_are_readable_by_their_owner_only(moodle: MoodleStandIn) -> None:
    modes = [path.stat().st_mode & 0o777 for path in (moodle.token_file, moodle.folder / "control-key")]
    assert modes == [0o600, 0o600]


@pytest.mark.parametrize(
    ("kind", "status", "kept"),
    [
        (FaultKind.UNAVAILABLE, 503, 0),
        (FaultKind.BAD_GATEWAY, 502, 0),
        (FaultKind.SERVER_ERROR, 500, 0),
        (FaultKind.EMPTY_BODY, 200, 0),
        (FaultKind.GATEWAY_TIMEOUT_AFTER_COMMIT, 504, 1),
        (FaultKind.EMPTY_BODY_AFTER_COMMIT, 200, 1),
    ],
)
def test_a_fault_strikes_the_calls_that_it_is_meant_for(
    moodle: MoodleStandIn, client: Client, kind: FaultKind, status: int, kept: int
) -> None:
    prefix = f"fault-{kind.value}-"
    moodle.fault(kind, wsfunction="core_user_create_users", retry_after_s=7)
    assert client.call("core_webservice_get_site_info", None).value["sitename"] == "Moodle"
    struck = client.call("core_user_create_users", {"users": users(prefix, 1)})
    assert struck.status == status
    assert struck.headers.get("retry-after") == ("7" if status in (502, 503) else None)
    assert not struck.content_type.startswith("application/json")
    assert count_users(moodle, prefix) == kept
    assert client.ask("core_user_create_users", users=users(prefix, 1, first=1))[0]["id"] > 0


@pytest.mark.parametrize(("kind", "kept"), [(FaultKind.HANG_UP, 0), (FaultKind.HANG_UP_AFTER_COMMIT, 1)])
def test_a_hang_up_comes_before_or_after_the_commit(
    moodle: MoodleStandIn, client: Client, kind: FaultKind, kept: int
) -> None:
    prefix = f"fault-{kind.value}-"
    moodle.fault(kind)
    with pytest.raises(httpx.RemoteProtocolError):
        client.call("core_user_create_users", {"users": users(prefix, 1)})
    assert count_users(moodle, prefix) == kept


def test_the_maintenance_page_says_when_to_come_back(moodle: MoodleStandIn, client: Client) -> None:
    moodle.set(cli_maintenance=True)
    answer = client.call("core_webservice_get_site_info", None)
    assert (answer.status, answer.content_type) == (503, "text/html; charset=utf-8")
    assert answer.headers["retry-after"] == "300"
    assert b"<title>Moodle under maintenance</title>" in answer.body


def test_one_connection_carries_several_requests(moodle: MoodleStandIn) -> None:
    body = f"wstoken={moodle.token}&wsfunction=core_cohort_get_cohorts&moodlewsrestformat=json".encode()
    head = (
        "POST /webservice/rest/server.php HTTP/1.1\r\nHost: moodle\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", moodle.port), timeout=PATIENCE_S) as connection:
        stream = connection.makefile("rb")
        for _ in range(3):
            connection.sendall(head + body)
            status = stream.readline()
            length = 0
            while (line := stream.readline().strip()) != b"":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert status.startswith(b"HTTP/1.1 200")
            assert json.loads(stream.read(length)) is not None
        stream.close()


def test_the_service_user_sees_itself_whatever_its_role(moodle: MoodleStandIn, client: Client) -> None:
    moodle.set(missing_capabilities=["moodle/user:viewdetails", "moodle/user:viewalldetails"])
    own = client.ask("core_user_get_users_by_field", field="username", values=["wsprov", "admin"])
    assert [user["username"] for user in own] == ["wsprov"]
