"""Send requests to the site as a client might, well or badly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

Pairs = list[tuple[str, str | int | float | bool | None]]


@dataclass(frozen=True, slots=True)
class Sending:
    """How a request is sent; the default is right, every other value is a way to get it wrong."""

    token: str | None = "right"
    json_format: bool = True
    method: str = "POST"
    place: str = "body"  # where token, function and format go: body, query, last, authorization
    body: str = "form"  # form, multipart, json


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    content_type: str
    headers: httpx.Headers
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield PHP form fields: nested names in brackets, in the order of the value."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flatten(item, f"{name}[{key}]" if name else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from flatten(item, f"{name}[{index}]")
    else:
        yield name, str(int(value) if isinstance(value, bool) else value)


class Client:
    """A connection to one site, with its token."""

    def __init__(self, endpoint: str, token: str, timeout_s: float = 60.0) -> None:
        self._http = httpx.Client(trust_env=False, timeout=timeout_s)
        self._endpoint = endpoint
        self._token = token

    def close(self) -> None:
        self._http.close()

    def call(self, wsfunction: str | None, params: Any, sending: Sending | None = None) -> Answer:
        """Call a function and return the answer as it came."""
        how = sending or Sending()
        control = self._control(wsfunction, how)
        fields: Pairs = list(flatten(params or {}))
        if how.method == "GET":
            return self._answer(self._http.get(self._endpoint, params=control + fields))
        if how.place == "query":
            return self._post(fields, how, query=control)
        if how.place == "authorization":
            rest = [pair for pair in control if pair[0] != "wstoken"]
            return self._post(rest + fields, how, headers={"Authorization": f"Bearer {self._token}"})
        return self._post(fields + control if how.place == "last" else control + fields, how)

    def ask(self, wsfunction: str, **params: Any) -> Any:
        """Call a function well and return the answer's value."""
        return self.call(wsfunction, params).value

    def _control(self, wsfunction: str | None, how: Sending) -> Pairs:
        token = self._token if how.token == "right" else how.token
        pairs: Pairs = [("wstoken", token), ("wsfunction", wsfunction)]
        pairs.append(("moodlewsrestformat", "json" if how.json_format else None))
        return [(name, value) for name, value in pairs if value is not None]

    def _post(
        self,
        fields: Pairs,
        how: Sending,
        *,
        query: Pairs | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        request = {"params": query or None, "headers": headers}
        if how.body == "json":
            reply = self._http.post(self._endpoint, json=dict(fields), **request)  # type: ignore[arg-type]
        elif how.body == "multipart":
            parts = [(name, (None, str(value))) for name, value in fields]
            reply = self._http.post(self._endpoint, files=parts, **request)  # type: ignore[arg-type]
        else:
            content = str(httpx.QueryParams(fields)).encode()
            form = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
            reply = self._http.post(self._endpoint, content=content, params=query or None, headers=form)
        return self._answer(reply)

    @staticmethod
    def _answer(reply: httpx.Response) -> Answer:
        return Answer(reply.status_code, reply.headers.get("content-type", ""), reply.headers, reply.content)


_FIELDS = ("username", "firstname", "lastname", "email", "auth", "idnumber", "department")


def users(prefix: str, count: int, fields: int = 6, first: int = 0) -> list[dict[str, str]]:
    """Return user rows of so many fields each (5 to 7)."""
    rows: list[dict[str, str]] = []
    for number in range(first, first + count):
        name = f"{prefix}{number}"
        values = (name, "A", "B", f"{name}@univ.example", "cas", name.upper(), "UFR")
        rows.append(dict(zip(_FIELDS[:fields], values, strict=False)))
    return rows


def members(cohort: str, prefix: str, count: int, first: int = 0) -> list[dict[str, Any]]:
    """Return member rows of four variables each."""
    return [
        {
            "cohorttype": {"type": "idnumber", "value": cohort},
            "usertype": {"type": "username", "value": f"{prefix}{number}"},
        }
        for number in range(first, first + count)
    ]
