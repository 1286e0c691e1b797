"""Enrolments that a source sends and signs, over real HTTP."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from standardwebhooks.webhooks import Webhook

from consumers.webhooks import rows
from pipeline import audit
from pipeline.audit import entries
from sandbox.ports import free_port
from schemas.account import Lane
from schemas.catalogue import PROPAGATION
from schemas.envelope import Message
from schemas.events import PropagationLate
from sesame.operations.programs.tokens import UnknownScope
from sesame.testing.servers.webhooks_kit import Program
from tests.integration.api.api_kit import ApiWorld, api_world

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SIGNING: Final = f"whsk_{base64.b64encode(bytes(range(32))).decode()}"
UNSIGNED: Final[dict[str, Any]] = {"webhook-signature": ""}
NEXT: Final = "whsec_" + "QUJD" * 8
LINE: Final = json.loads(
    (Path(__file__).parents[3] / "examples" / "pegase-2026.jsonl").read_text("utf-8").splitlines()[0]
)


@pytest.fixture
def world(empty_url: str, tmp_path: Path) -> Iterator[ApiWorld]:
    keys = tmp_path / "pegase.keys"
    keys.write_text(f"{SECRET}\n")
    keys.chmod(0o600)
    (tmp_path / "idp.keys").write_text(SIGNING)
    (tmp_path / "idp.keys").chmod(0o600)
    receivers = "".join(
        f'[webhooks.receivers.{name}]\nform = "set"\nkey_file = "idp.keys"\n' for name in ("idp", "other")
    )
    with api_world(tmp_path, empty_url, more=f'webhooks = {{ pegase = "{keys}" }}\n{receivers}') as made:
        yield made


def sent(
    world: ApiWorld,
    payload: Any,
    *,
    secret: str = SECRET,
    name: str = "msg_1",
    at: float | None = None,
    source: str = "pegase",
    **headers: str,
) -> Any:
    """As the reference library signs."""
    moment = datetime.fromtimestamp(int(time.time() if at is None else at), UTC)
    body = payload if isinstance(payload, str) else json.dumps(payload)
    said = {
        "webhook-id": name,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, moment, body),
        "content-type": "application/json",
        **headers,
    }
    return world.client.post(f"/v1/webhooks/{source}", content=body.encode(), headers=said)


def published(world: ApiWorld) -> int:
    with closing(world.site.log.consumer("test", ("sesame.enrolments",), member="test")) as consumer:
        return len(consumer.poll(5_000, 1.0))


def test_what_is_signed_is_imported_and_noted_under_the_source_s_name(world: ApiWorld) -> None:
    answered = sent(world, {"type": "enrolments", "data": LINE})
    assert answered.status_code == 200, answered.text
    assert (answered.json()["report"]["recorded"], published(world)) == (1, 1)
    with world.site.database.read() as connection:
        [noted] = [each for each in entries(connection, limit=9) if each.action == "import"]
    assert noted.actor == "webhook pegase"


def test_a_message_that_comes_again_is_answered_as_it_was(world: ApiWorld) -> None:
    one = sent(world, {"type": "enrolments", "data": [LINE]})
    two = sent(world, {"type": "enrolments", "data": [LINE]})
    assert (two.json(), two.headers["idempotency-replayed"]) == (one.json(), "true")
    assert published(world) == 1
    assert sent(world, {"type": "enrolments", "data": []}).status_code == 422  # the same id, another message


def test_a_wrong_line_is_told_and_not_asked_for_again(world: ApiWorld) -> None:
    answered = sent(world, {"type": "enrolments", "data": [LINE | {"dateNaissance": "someday"}]})
    assert (answered.status_code, len(answered.json()["rejected"])) == (200, 1)


def test_the_next_key_is_taken_without_a_restart_and_the_former_one_ends(world: ApiWorld) -> None:
    assert sent(world, {"type": "enrolments", "data": LINE}, secret=NEXT, name="a").status_code == 401
    keys = world.site.settings.console.webhooks["pegase"]
    keys.write_text(f"{NEXT}\n{SECRET}\n")
    for secret, name in ((NEXT, "b"), (SECRET, "c")):
        assert sent(world, {"type": "enrolments", "data": LINE}, secret=secret, name=name).status_code == 200
    keys.write_text(f"{NEXT}\n")
    assert sent(world, {"type": "enrolments", "data": LINE}, name="d").status_code == 401


def test_who_is_not_known_is_refused_alike(world: ApiWorld) -> None:
    refused = [
        sent(world, {"type": "enrolments", "data": LINE}, secret=NEXT),
        sent(world, {"type": "enrolments", "data": LINE}, source="nobody"),
        sent(world, {"type": "enrolments", "data": LINE}, at=time.time() - 400),
        sent(world, {"type": "enrolments", "data": LINE}, **UNSIGNED),
        world.client.post("/v1/webhooks/pegase", json={}),
        world.client.post(
            "/v1/webhooks/pegase", json={}, headers={"Authorization": f"Bearer {world.token('registrar')}"}
        ),
    ]
    assert {each.status_code for each in refused} == {401}
    assert len({each.text for each in refused}) == 1
    assert published(world) == 0


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ("{", 422),
        ([], 422),
        ({"type": "grades", "data": LINE}, 422),
        ({"type": ["enrolments"], "data": LINE}, 422),
        ({"type": "enrolments", "data": "x"}, 422),
        ({"type": "enrolments", "data": [LINE, 1]}, 422),
        ({"type": "enrolments", "data": {"unknown": 1}}, 422),
    ],
)
def test_what_is_no_enrolments_is_refused(world: ApiWorld, payload: Any, status: int) -> None:
    answered = sent(world, payload)
    assert answered.status_code == status, answered.text
    assert answered.headers["content-type"] == "application/problem+json"
    assert "sesame-api-" not in answered.text  # where it was kept
    assert published(world) == 0


def test_keys_that_others_may_read_are_not_used_and_no_path_is_told(world: ApiWorld) -> None:
    keys = world.site.settings.console.webhooks["pegase"]
    keys.chmod(0o644)
    answered = sent(world, {"type": "enrolments", "data": LINE})
    assert answered.status_code == 503
    assert str(keys) not in answered.text


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")
def test_a_receiver_asks_for_its_tokens_and_fetches_the_keys(world: ApiWorld) -> None:
    with world.site.database.write() as connection:
        moment = datetime(2026, 11, 28, tzinfo=UTC)
        late = PropagationLate(
            student_number="22600001", version=1, opened_at=moment, elapsed_s=900.0, outstanding=("moodle",)
        )
        said = Message("e" * 40, "/sesame/propagation", moment, late)
        rows.add(connection, world.site.database, ["idp"], said, topic=PROPAGATION, lane=Lane.PERSONAL)
    published = world.client.get("/v1/jwks.json")
    assert published.headers["content-type"] == "application/jwk-set+json"
    answered = world.ask("POST", "/events/idp", "events.poll:idp", json={"maxEvents": 5})
    assert answered.status_code == 200, answered.text
    [(name, token)] = answered.json()["sets"].items()
    claims = jwt.decode(token, KeySet.import_key_set(published.json()), algorithms=["EdDSA"]).claims
    assert (
        (claims["jti"], claims["sub_id"]["uri"]) == (name, "/Users/22600001") == ("e" * 40, "/Users/22600001")
    )
    answered = world.ask(
        "POST", "/events/idp", "events.poll:idp", json={"ack": [name], "returnImmediately": True}
    )
    assert answered.json() == {"sets": {}, "moreAvailable": False}
    assert world.ask("POST", "/events/nobody", "events.poll:nobody", json={}).status_code == 404


def test_a_token_opens_the_events_of_its_own_receiver_alone(world: ApiWorld) -> None:
    for name, other in (("idp", "other"), ("other", "idp")):
        scope = f"events.poll:{name}"
        assert world.post(f"/events/{name}", scope, json={}).status_code == 200
        for path in (f"/events/{other}", "/events/i", f"/receivers/{name}/try", "/holds/place"):
            assert world.post(path, scope, json={}).status_code == 403, path
    both = ("events.poll:idp", "events.poll:other")
    assert {world.post(f"/events/{name}", *both, json={}).status_code for name in ("idp", "other")} == {200}
    assert world.post("/events/other", "operator", json={}).status_code == 200
    for scope in ("events.poll", "events.poll:", "events.poll:a b", "events.poll:*", "hold.place:idp"):
        with pytest.raises(UnknownScope):
            world.token(scope)


@pytest.mark.parametrize("form", ["webhook", "set"])
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")
def test_a_receiver_is_tried_and_nothing_but_its_status_is_told(form: str, tmp_path: Path) -> None:
    key = tmp_path / "crm.keys"
    key.write_text(SECRET if form == "webhook" else SIGNING)
    key.chmod(0o600)
    program = Program(names_events=False, body="a secret of the receiver's")
    with program.serving():
        more = "".join(
            f'[webhooks.receivers.{name}]\nform = "{form}"\nkey_file = "crm.keys"\nurl = "{url}"\n'
            for name, url in (
                ("crm", f"http://127.0.0.1:{program.port}/"),
                ("away", f"http://127.0.0.1:{free_port()}/"),
            )
        )
        with api_world(tmp_path, f"sqlite:///{tmp_path / 'store.db'}", more=more) as world:
            program.answer(204, 503, 401, 302, 418, 429)
            told = [world.post("/receivers/crm/try", "operator").json() for _ in range(6)]
            assert told == [{"receiver": "crm", "status": each} for each in (204, 503, 401, 302, 418, 429)]
            answered = world.post("/receivers/away/try", "operator")
            assert (answered.status_code, answered.json()) == (200, {"receiver": "away", "status": None})
            assert world.post("/receivers/nobody/try", "operator").status_code == 404
            first, second = program.heard[:2]
            if form == "webhook":
                assert first.checked(SECRET)["type"] == "fr.sesame.webhook.trial.v1"
                assert first.id != second.id
            else:
                keys = KeySet.import_key_set(world.client.get("/v1/jwks.json").json())
                said = [
                    jwt.decode(each.body.decode(), keys, algorithms=["EdDSA"]).claims
                    for each in (first, second)
                ]
                assert said[0]["jti"] != said[1]["jti"]
                assert [*said[0]["events"]] == [
                    "https://schemas.openid.net/secevent/ssf/event-type/verification"
                ]
            with world.site.database.read() as connection:
                assert rows.waiting(connection, "crm") == {}
                assert [each.action for each in audit.entries(connection, limit=1)] == ["receiver.try"]
