"""Signed enrolments and teachings that other programs push (Standard Webhooks).

No token is sent: a sender with a key in the file of `console.webhooks` is that source, and may do nothing but
import. A message that is repeated gets the first answer, by its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from anyio import to_thread
from fastapi import Request, Response

from consumers.webhooks.signatures import SignatureRefused, WebhookHead, WebhookKeyUnusable, verify
from pipeline.settings import SecretUnreadable, read_secret
from schemas.language import gettext
from sesame.acts.acts import Actor
from sesame.operations.imports.acts import ImportStop
from sesame.web.api import problems
from sesame.web.api.enrolments import FORMS, import_lines
from sesame.web.api.problems import ApiError
from sesame.web.api.routes import (
    JSON,
    Api,
    UnusableRequest,
    check_type,
    json_object,
    language_of,
    read_body,
    stopped_by_leaving,
)
from sesame.web.kit.languages import speak_for

WEBHOOKS_PATH: Final = "/webhooks/{source}"
"""Below the API's."""

DESCRIBED: Final[dict[str, Any]] = {
    "security": [],
    "parameters": [
        {
            "name": "source",
            "in": "path",
            "required": True,
            "description": "The name that `console.webhooks` of the settings gives it.",
            "schema": {"type": "string"},
        },
        *(
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
            for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
        ),
    ],
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["type", "data"],
                    "properties": {
                        "type": {"enum": sorted(FORMS)},
                        "data": {
                            "oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]
                        },
                    },
                }
            }
        },
    },
}


class KeysUnusable(ApiError):
    """The keys of this source cannot be used just now. Send the message again later."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


async def receive_webhook(request: Request) -> Response:
    """Take signed enrolments or teachings (Standard Webhooks, `v1` and `v1a`).

    `data` is one object or a list of them, as `/enrolments` and `/teachings` have them, and is answered
    likewise; wrong lines are listed in the answer, and are not to be sent again.
    """
    api: Api = request.app.state.api
    speak_for(language_of(request, api))
    headers: dict[str, str] = {}
    try:
        source = str(request.path_params["source"])
        body = await read_body(request)
        key, head = await to_thread.run_sync(_sender, api, source, request, body)
        headers = api.rates.take(f"webhook {source}")
        check_type(request, (JSON,))
        actor = Actor(f"webhook {source}", frozenset(), acts=frozenset({"import"}))

        stop = ImportStop()

        async def answer() -> Response:
            async with api.acts.one(actor.name):
                return await to_thread.run_sync(_import, api, actor, body, stop)

        answered = api.repeats.answered(head.id, key, ["webhook", source, body], answer)
        response = await stopped_by_leaving(request, stop, answered)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is answered)
        response = problems.answer(error)
    response.headers.update(headers)
    return response


def _sender(api: Api, source: str, request: Request, body: bytes) -> tuple[str, WebhookHead]:
    """The key that authenticates this source, and the message's head.

    Raises:
        SignatureRefused: there is none; an unknown source gets the same answer.
        KeysUnusable: the log says why, the answer does not.
    """
    head, file = WebhookHead.of(request.headers), api.site.settings.console.webhooks.get(source)
    if file is None:
        raise SignatureRefused
    try:
        keys = read_secret(file, f"console.webhooks.{source}").split()
        return verify(keys, head, body, now=api.clock().timestamp()), head
    except (SecretUnreadable, WebhookKeyUnusable) as error:
        structlog.get_logger().error("webhook_keys_unusable", reason=str(error))
        raise KeysUnusable from error


def _import(api: Api, actor: Actor, body: bytes, stop: ImportStop) -> Response:
    kind, objects = _payload(body)
    done = import_lines(api.site, actor, kind, objects, clock=api.clock, stop=stop)
    status = HTTPStatus.ACCEPTED if done.report["held"] else HTTPStatus.OK
    return Response(done.model_dump_json(), status, media_type=JSON)


def _payload(body: bytes) -> tuple[str, Sequence[dict[str, Any]]]:
    document = json_object(body)
    kind, data = document.get("type"), document.get("data")
    objects = data if isinstance(data, list) else [data]
    if not isinstance(kind, str) or kind not in FORMS:
        known = ", ".join(sorted(FORMS))
        raise UnusableRequest(gettext("`type` is none of {known}", known=known))
    lines = [each for each in objects if isinstance(each, dict)]
    if not lines or len(lines) < len(objects):
        raise UnusableRequest(gettext("`data` is neither an object nor a list of them"))
    return kind, lines
