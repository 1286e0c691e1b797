"""Idempotent requests: the same key, the same answer.

The header is that of draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from anyio import to_thread
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from fastapi import Response

from pipeline.db.database import Database
from sesame.login import api_answers
from sesame.web.api.problems import ApiError

_KEY: Final = re.compile(r'"?([!#-\[\]-~]{1,128})"?')
"""A string of structured fields (RFC 9651, 3.3.3); most programs send it without the quotes."""

_KEPT: Final = ("content-type", "location")


class UnfitKey(ApiError):
    """An idempotency key has 1 to 128 visible characters: a UUID, for instance."""


class Repeats:
    """Answers each request once. Refusals and failures are not kept: they may be retried."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def answered(
        self, key: str, token: str, request: Sequence[str | bytes], answer: Callable[[], Awaitable[Response]]
    ) -> Response:
        """The answer to a request.

        Args:
            key: as the header has it.
            token: the caller's; a key counts for one token alone.
            request: all that distinguishes it from another one.

        Raises:
            UnfitKey, KeyOfAnother, StillUnderWay: it is not answered.
            StoreUnavailable: likewise.
        """
        form = _KEY.fullmatch(key)
        if form is None:
            raise UnfitKey
        opening = _Opening.of(token, form[1])
        sealed = await to_thread.run_sync(self._begin, opening, opening.digest(request))
        if sealed is not None:
            return opening.open(sealed)
        kept = False
        try:
            response = await answer()
            if response.status_code < HTTPStatus.BAD_REQUEST:
                await to_thread.run_sync(self._keep, opening.name, opening.seal(response))
                kept = True
        finally:
            if not kept:
                await to_thread.run_sync(self._give_up, opening.name)
        return response

    def _begin(self, opening: _Opening, request: str) -> str | None:
        with self._database.write() as connection:
            now = self._database.now(connection)
            return api_answers.begin(connection, self._database, opening.name, request, now)

    def _keep(self, name: str, sealed: str) -> None:
        with self._database.write() as connection:
            api_answers.keep(connection, name, sealed)

    def _give_up(self, name: str) -> None:
        with self._database.write() as connection:
            api_answers.give_up(connection, name)


@dataclass(frozen=True)
class _Opening:
    """A name and two keys (request digest, answer), derived from token and key."""

    name: str
    digesting: bytes
    sealing: Fernet

    @classmethod
    def of(cls, token: str, key: str) -> _Opening:
        made = HKDF(algorithm=SHA256(), length=96, salt=key.encode(), info=b"sesame/api-answers").derive(
            token.encode()
        )
        return cls(made[:32].hex(), made[32:64], Fernet(base64.urlsafe_b64encode(made[64:])))

    def digest(self, request: Sequence[str | bytes]) -> str:
        made = hmac.new(self.digesting, digestmod=hashlib.sha256)
        for part in request:
            content = part if isinstance(part, bytes) else part.encode()
            made.update(len(content).to_bytes(8, "big") + content)
        return made.hexdigest()

    def seal(self, response: Response) -> str:
        headers = {name: response.headers[name] for name in _KEPT if name in response.headers}
        body = bytes(response.body).decode()
        return self.sealing.encrypt(json.dumps([response.status_code, headers, body]).encode()).decode()

    def open(self, sealed: str) -> Response:
        status, headers, body = json.loads(self.sealing.decrypt(sealed.encode()))
        return Response(body, status, headers | {"Idempotency-Replayed": "true"})
