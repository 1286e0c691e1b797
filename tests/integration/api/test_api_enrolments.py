"""Enrolments that are sent to the API are imported as a file is: same rules, same report, same guard."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from producers.registrar.import_subject import ImportInterrupted
from sandbox.process import PATIENCE_S, wait_until
from sesame.cli import main
from sesame.operations.imports import acts as imports_operation
from sesame.operations.imports.acts import ImportStop, import_sent
from sesame.web.api import enrolments
from sesame.web.api.problems import Problem
from sesame.web.api.routes import BODY_BYTES_MAX
from tests.integration.api.api_kit import HOST, ApiWorld

LINES: Final = (Path(__file__).parents[3] / "examples" / "pegase-2026.jsonl").read_text("utf-8").splitlines()
NDJSON: Final = {"Content-Type": "application/x-ndjson"}


def send(world: ApiWorld, lines: list[str], query: str = "", **headers: str) -> Any:
    body = "".join(f"{line}\n" for line in lines).encode()
    return world.post(f"/enrolments{query}", "registrar", content=body, headers=NDJSON | headers)


def published(world: ApiWorld) -> list[str]:
    """The students of whom the log has an enrolment."""
    with closing(world.site.log.consumer("test", ("sesame.enrolments",), member="test")) as consumer:
        found = []
        while records := consumer.poll(5_000, 0.1):
            found += [each.key for each in records]
    return found


def stop_is_wanted(stop: ImportStop) -> bool:
    try:
        stop.check()
    except ImportInterrupted:
        return True
    return False


def imports(world: ApiWorld) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.get("/imports").json()["imports"]
    return found


def test_lines_are_imported_as_the_command_imports_them(world: ApiWorld, tmp_path: Path) -> None:
    answered = send(world, LINES)
    assert answered.status_code == 200, answered.text
    done = answered.json()
    with_cli = CliRunner().invoke(
        main,
        [
            *(
                "--config",
                str(tmp_path / "sesame.toml"),
                "import",
                "--profile",
                "pegase",
                "--dry-run",
                "--json",
            ),
            str(Path(__file__).parents[3] / "examples" / "pegase-2026.jsonl"),
        ],
    )
    told = json.loads(with_cli.stdout)
    same = ("kind", "source", "lines", "students", "duplicates", "rejected", "sha256", "faults")
    assert {name: done["report"][name] for name in same} == {name: told[name] for name in same}
    assert told["unchanged"] == done["report"]["recorded"] + done["report"]["unchanged"] > 0
    assert len(published(world)) == done["report"]["recorded"] + done["report"]["cancelled"]
    assert not {"rejects", "affected"} & set(done["report"])
    newest = imports(world)[0]
    assert (newest["feed"], newest["state"]) == ("pegase", "done")
    assert newest["actor"].startswith("token test (")
    again = send(world, LINES).json()["report"]
    assert (again["recorded"], again["unchanged"]) == (0, told["unchanged"])


def test_lines_that_are_wrong_are_told_by_their_number_and_the_rest_goes_on(world: ApiWorld) -> None:
    wrong = json.loads(LINES[1]) | {"dateNaissance": "31/02/2005"}
    answered = send(world, [LINES[0], json.dumps(wrong), "{", LINES[2]])
    assert answered.status_code == 200
    told = answered.json()
    assert told["report"]["rejected"] == 2
    assert {(each["line"], each["column"]) for each in told["rejected"]} >= {(2, "dateNaissance")}
    assert {each["line"] for each in told["rejected"]} == {2, 3}
    assert len(set(published(world))) == len({json.loads(LINES[n])["codeApprenant"] for n in (0, 2)})


def test_one_object_is_one_enrolment_and_what_is_wrong_in_it_is_a_problem(world: ApiWorld) -> None:
    one = json.loads(LINES[0])
    pretty = json.dumps(one, indent=2)
    answered = world.post(
        "/enrolments", "registrar", content=pretty, headers={"Content-Type": "application/json"}
    )
    assert answered.status_code == 200
    assert answered.json()["report"]["recorded"] == 1
    assert published(world) == [one["codeApprenant"]]
    refused = world.post("/enrolments", "registrar", json=one | {"dateNaissance": "demain"})
    assert refused.status_code == 422
    found = Problem.model_validate(refused.json())
    assert found.type == "urn:sesame:error:EnrolmentRefused"
    assert [each.pointer for each in found.errors] == ["/dateNaissance"]
    for body in ("[]", "3", "", "{", "[" * 100_000):
        answered = world.post(
            "/enrolments", "registrar", content=body, headers={"Content-Type": "application/json"}
        )
        assert answered.status_code == 422, body[:10]
    assert (
        world.post(
            "/enrolments", "registrar", content=b"a;b", headers={"Content-Type": "text/csv"}
        ).status_code
        == 415
    )


def test_what_the_guard_holds_is_published_once_it_is_approved(world: ApiWorld) -> None:
    many = [
        json.dumps(
            json.loads(LINES[0])
            | {
                "codeApprenant": f"2299{n:04}",
                "ine": None,
                "nomFamille": f"Nom{chr(97 + n // 26)}{chr(97 + n % 26)}",
            }
        )
        for n in range(200)
    ]
    assert send(world, many).json()["report"]["recorded"] == 200
    before = len(published(world))
    held = send(world, many[:20], "?full_year=2026")
    assert held.status_code == 202
    report = held.json()["report"]
    assert report["held"] is True
    assert len(published(world)) == before, "nothing was published"
    done = send(world, many[:20], f"?full_year=2026&approve={report['approval']}")
    assert (done.status_code, done.json()["report"]["gone"]) == (200, 180)


def test_more_than_a_body_may_have_is_streamed(world: ApiWorld) -> None:
    line = json.loads(LINES[0])
    count = 2 * BODY_BYTES_MAX // len(LINES[0]) + 1

    def parts() -> Iterator[bytes]:
        for n in range(count):
            yield (json.dumps(line | {"codeApprenant": f"22{n:06}", "ine": None}) + "\n").encode()

    answered = world.post("/enrolments?dry_run=true", "registrar", content=parts(), headers=NDJSON)
    assert answered.status_code == 200
    assert answered.json()["report"]["lines"] == count


def test_the_same_key_is_the_same_report(world: ApiWorld) -> None:
    key = {"Idempotency-Key": "night-1"}
    first, again = send(world, LINES[:5], **key), send(world, LINES[:5], **key)
    assert first.json() == again.json()
    assert first.json()["report"]["recorded"] == 5
    assert send(world, LINES[:4], **key).status_code == 422
    assert send(world, LINES[:5], "?dry_run=true", **key).status_code == 422
    assert len(imports(world)) == len({each["id"] for each in imports(world)})
    assert sum(each["feed"] == "pegase" for each in imports(world)) == 1


def test_half_of_it_is_none(world: ApiWorld) -> None:
    before = imports(world)
    parts = urlsplit(world.url)
    assert parts.hostname is not None
    token = world.token("registrar")
    head = (
        f"POST /v1/enrolments HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    body = f"{LINES[0]}\n".encode()
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=PATIENCE_S) as connection:
        connection.sendall(head.encode() + b"%x\r\n%s\r\n" % (len(body), body))
    assert imports(world) == before
    assert published(world) == []


def test_an_import_is_stopped_when_whoever_sent_it_hangs_up(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    ended: list[BaseException | None] = []

    def import_once_they_left(*given: Any, stop: ImportStop, **named: Any) -> Any:
        begun.set()
        try:
            wait_until(lambda: stop_is_wanted(stop), "the connection's end to be seen")
            return import_sent(*given, stop=stop, **named)
        finally:
            ended.append(sys.exc_info()[1])

    monkeypatch.setattr(enrolments, "import_sent", import_once_they_left)
    parts, body = urlsplit(world.url), f"{LINES[0]}\n".encode()
    head = (
        f"POST /v1/enrolments HTTP/1.1\r\nHost: {HOST}\r\n"
        f"Authorization: Bearer {world.token('registrar')}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=PATIENCE_S) as connection:
        connection.sendall(head.encode() + body)
        assert begun.wait(PATIENCE_S)
    wait_until(lambda: bool(ended), "the import to end")
    assert isinstance(ended[0], ImportInterrupted)
    assert published(world) == []
    monkeypatch.undo()
    assert send(world, LINES[:1]).json()["report"]["recorded"] == 1, "its turn was given back"


def test_an_import_that_takes_too_long_is_refused_and_says_what_to_do(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports_operation, "REQUEST_S_MAX", -1.0)
    problem = Problem.model_validate(send(world, LINES).json())
    assert (problem.status, problem.type) == (409, "urn:sesame:error:ImportInterrupted")
    assert "sesame import" in problem.remedy
    assert published(world) == []


def test_teachings_are_sent_as_enrolments_are(world: ApiWorld) -> None:
    line = {"codeApprenant": "22600001", "codePeriode": "PER-2026", "codeObjet": "UE11", "codeGroupe": "TD3"}
    done = world.post("/teachings", "registrar", content=json.dumps(line), headers=NDJSON).json()
    assert (done["report"]["kind"], done["report"]["lines"], done["rejected"]) == ("teachings", 1, [])
    again = world.post("/teachings", "registrar", json=line).json()["report"]
    assert again["recorded"] == 0
    wrong = world.post("/teachings", "registrar", json=line | {"codePeriode": "someday"})
    assert wrong.status_code == 422
    [place] = Problem.model_validate(wrong.json()).errors
    assert place.pointer == "/codePeriode"
    assert world.post("/teachings", "operator", json=line).status_code == 200
    assert world.post("/teachings", "support", json=line).status_code == 403
