"""Security Event Tokens, pushed and asked for: as joserfc reads them with the keys that are published."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet
from pydantic import ValidationError

from consumers.webhooks import rows
from consumers.webhooks.sender import Sender
from consumers.webhooks.settings import ASYNC_ANSWER, WebhookReceiver
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from schemas import catalogue
from schemas.account import Hold, Lane, Stage
from schemas.events import AccountChanged, Cause
from sesame.acts.acts import Actor, Role
from sesame.operations.programs.polled_events import (
    NoSuchReceiver,
    PollReport,
    PollRequest,
    poll,
    public_keys,
)
from sesame.testing.servers.database_kit import START, Clock
from sesame.testing.servers.webhooks_kit import (
    ISSUER,
    LEA,
    NEVER,
    NOAH,
    SECRET,
    Program,
    WebhookHarness,
    completed,
)

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")

KEY, NEXT = (f"whsk_{base64.b64encode(bytes([each]) * 32).decode()}" for each in (1, 2))
EVERYTHING = (AccountChanged.type, completed().type)
PROV = "urn:ietf:params:scim:event:prov:"
ATTRIBUTES = ["userName", "name", "displayName", "emails", "preferredLanguage", "active", "groups"]
IDP = Actor("idp", frozenset({Role.OPERATOR}))


@pytest.fixture
def desk(database: Database, clock: Clock, tmp_path: Path) -> WebhookHarness:
    return WebhookHarness(database, clock, tmp_path)


@pytest.fixture
def program() -> Iterator[Program]:
    program = Program(names_events=False)
    with program.serving():
        yield program


def changed(
    student: str = LEA, *, version: int = 2, stage: Stage = Stage.ACTIVE, holds: tuple[Hold, ...] = ()
) -> AccountChanged:
    return AccountChanged(
        student_number=student,
        version=version,
        stage=stage,
        holds=holds,
        lane=Lane.PERSONAL,
        cause=Cause.ENROLMENT,
    )


def site(desk: WebhookHarness) -> Any:
    settings = SimpleNamespace(
        webhooks=SimpleNamespace(receivers=desk.receivers), console=SimpleNamespace(public_url=ISSUER)
    )
    return SimpleNamespace(database=desk.database, settings=settings)


def read(token: str | bytes, desk: WebhookHarness) -> dict[str, Any]:
    """As a receiver reads it: with the key that its head names, of those that are published."""
    text = token if isinstance(token, str) else token.decode()
    keys = KeySet.import_key_set(public_keys(site(desk)))  # type: ignore[arg-type]
    said = jwt.decode(text, keys, algorithms=["EdDSA"])
    assert said.header["typ"] == "secevent+jwt"
    return dict(said.claims)


def send(sender: Sender) -> None:
    while sender.step(NEVER):
        pass


def pushed(desk: WebhookHarness, program: Program, **more: Any) -> Sender:
    return desk.sender(program, "idp", (KEY, NEXT), form="set", types=EVERYTHING, **more)


def polled(desk: WebhookHarness, **asked: Any) -> PollReport:
    if "idp" not in desk.receivers:
        file = desk.key_file("idp", KEY)
        desk.receivers["idp"] = WebhookReceiver(form="set", key_file=file, types=EVERYTHING)
    return poll(site(desk), IDP, PollRequest(receiver="idp", **asked))


def test_a_new_version_is_pushed_as_scim_s_events(desk: WebhookHarness, program: Program) -> None:
    sender = pushed(desk, program)
    identity = desk.say(changed(), catalogue.ACCOUNTS)
    program.answer(202)
    send(sender)
    [heard] = program.heard
    assert heard.headers["content-type"] == "application/secevent+jwt"
    assert heard.headers["accept"] == "application/json"
    claims = read(heard.body, desk)
    first, _ = public_keys(site(desk))["keys"]
    assert jws.extract_compact(heard.body).protected["kid"] == first["kid"]
    assert isinstance(claims.pop("iat"), int)
    assert claims == {
        "iss": ISSUER,
        "aud": f"http://127.0.0.1:{program.port}/hooks",
        "jti": identity,
        "toe": int(START),
        "sub_id": {"format": "scim", "uri": f"/Users/{LEA}"},
        "events": {f"{PROV}put:notice": {"attributes": ATTRIBUTES}, f"{PROV}activate": {}},
    }
    assert desk.waiting("idp") == 0


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (changed(version=1, stage=Stage.PRECREATED), {"create:notice", "deactivate"}),
        (changed(stage=Stage.GRACE), {"put:notice", "activate"}),
        (changed(holds=(Hold.SUSPENDED,)), {"put:notice", "deactivate"}),
        (changed(stage=Stage.EXPIRED), {"put:notice", "deactivate"}),
        (changed(stage=Stage.ERASED), {"delete"}),
    ],
)
def test_each_says_whether_access_is_open_now(
    desk: WebhookHarness, event: AccountChanged, said: set[str]
) -> None:
    polled(desk)
    desk.say(event, catalogue.ACCOUNTS)
    [token] = polled(desk).sets.values()
    assert set(read(token, desk)["events"]) == {PROV + each for each in said}


def test_what_came_of_a_request_is_pushed_under_its_name(desk: WebhookHarness, program: Program) -> None:
    sender = pushed(desk, program)
    answer = {"method": "PUT", "status": "200", "version": 'W/"1"'}
    with desk.database.write() as connection:
        for _ in range(2):
            said = {"txn": "734f0614", "answer": answer}
            rows.add_answer(connection, desk.database, ["idp"], LEA, said, START)
    program.answer(202)
    send(sender)
    [heard] = program.heard
    claims = read(heard.body, desk)
    assert (claims["txn"], claims["sub_id"]["uri"]) == ("734f0614", f"/Users/{LEA}")
    assert claims["events"] == {ASYNC_ANSWER: answer}
    with pytest.raises(ValidationError, match="as `set` only"):
        desk.sender(program, "portal", types=(ASYNC_ANSWER,))


def test_what_scim_has_no_word_for_is_said_in_our_own(desk: WebhookHarness) -> None:
    polled(desk)
    desk.say(completed())
    [token] = polled(desk).sets.values()
    events = read(token, desk)["events"]
    assert events["urn:sesame:event:fr.sesame.propagation.completed.v1"]["targets_s"] == {"moodle": 4.0}
    assert LEA not in str(events)


def test_a_token_that_was_changed_is_none(desk: WebhookHarness) -> None:
    polled(desk)
    desk.say(completed())
    [token] = polled(desk).sets.values()
    head, claims, signature = token.split(".")
    forged = base64.urlsafe_b64encode(
        base64.urlsafe_b64decode(claims + "==").replace(b"22001234", b"22009999")
    )
    with pytest.raises(BadSignatureError):
        read(f"{head}.{forged.rstrip(b'=').decode()}.{signature}", desk)


def test_the_next_key_is_published_before_it_signs(desk: WebhookHarness) -> None:
    polled(desk)
    desk.say(completed())
    signed_by = []
    for keys in ((KEY,), (KEY, NEXT), (NEXT, KEY), (NEXT,)):
        published = public_keys(site(desk))["keys"]
        desk.key_file("idp", *keys)
        [token] = polled(desk).sets.values()
        kid = jws.extract_compact(token.encode()).protected["kid"]
        signed_by.append(kid)
        assert kid in {each["kid"] for each in published}, "a receiver that had fetched them before knows it"
        assert not any("d" in each for each in public_keys(site(desk))["keys"])
    assert len(set(signed_by)) == 2


@pytest.mark.parametrize(
    ("error", "state"),
    [
        ("invalid_key", "misconfigured"),
        ("invalid_audience", "misconfigured"),
        ("invalid_request", "running"),
        ("Léa Martin", "running"),
    ],
)
def test_a_receiver_says_why_it_refuses(
    desk: WebhookHarness, program: Program, error: str, state: str
) -> None:
    sender = pushed(desk, program)
    desk.say(completed())
    program.body = f'{{"err": "{error}", "description": "Léa Martin"}}'
    program.answer(400)
    send(sender)
    found, reason = desk.states["webhooks_idp"]
    assert (found, desk.waiting("idp")) == (state, 1)
    assert ("Martin" not in reason, error in reason) == (True, state == "misconfigured")


def test_who_asks_is_told_again_until_it_acknowledges_and_in_order(desk: WebhookHarness) -> None:
    polled(desk)
    first, second = desk.say(changed(version=2), catalogue.ACCOUNTS), desk.say(completed(version=2))
    other = desk.say(completed(NOAH))
    for _ in range(2):
        found = polled(desk)
        assert (set(found.sets), found.more) == ({first, other}, True)
    assert polled(desk, most=0, taken=(other,)) == PollReport(sets={}, more=True)
    found = polled(desk, taken=(first, "nobody's"))
    assert (set(found.sets), found.more) == ({second}, False)
    assert polled(desk, taken=(second,)) == PollReport(sets={}, more=False)


def test_what_it_refuses_is_a_dead_letter(desk: WebhookHarness) -> None:
    polled(desk)
    identity = desk.say(completed())
    assert polled(desk, refused={identity: "invalid_request"}).sets == {}
    with desk.database.read() as connection:
        [letter] = dead_letters.unresolved(connection)
    assert (letter.consumer, letter.cause) == ("webhooks_idp", "receiver_refused")
    assert "invalid_request" in letter.message


def test_who_is_told_by_itself_or_is_nobody_does_not_ask(desk: WebhookHarness, program: Program) -> None:
    desk.sender(program, "portal", (SECRET,))
    for name in ("portal", "nobody"):
        with pytest.raises(NoSuchReceiver):
            poll(site(desk), IDP, PollRequest(receiver=name))
