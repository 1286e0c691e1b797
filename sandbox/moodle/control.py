"""The administrative interface: `/_control` with a key (`X-Control-Key`).

GET shows the conditions, the pending faults and the calls received so far. POST takes a JSON object and shows
the same afterwards; its keys, all optional, are applied in this order:

- `reset`: true goes back to the conditions of the start and drops the faults (data and token stay);
- `set`: conditions by name (`conditions.Conditions`);
- `service_user_suspended`: true or false;
- `token`: `{"restore": true}` makes the start's token valid again; `{"valid_until": epoch seconds or null,
  "ip_restriction": "10.0.0.0/8" or null}` limits it;
- `faults`: a list of `{"kind", "calls", "wsfunction", "retry_after_s", "delay_s", "share"}`
  (`conditions.Fault`);
- `rendezvous`: N lets the next N writing calls meet between check and write, 0 stops that.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

from sandbox.moodle.conditions import Fault, SiteState
from sandbox.moodle.storage import SERVICE_USER_ID, Storage, grant_token, token_digest, update_user
from sandbox.moodle.web import Reply, Request

_KNOWN: Final = frozenset({"reset", "set", "service_user_suspended", "token", "faults", "rendezvous"})


class ControlEndpoint:
    """Changes the site's state for holders of the control key."""

    def __init__(self, storage: Storage, state: SiteState, *, control_key: str, token: str) -> None:
        self._storage = storage
        self._state = state
        self._control_key = control_key
        self._token = token

    def answer(self, request: Request) -> Reply:
        """Return the state, after a POST's change. 403 without the key, 400 if not understood."""
        given = request.headers.get("x-control-key", "")
        if not hmac.compare_digest(given.encode(), self._control_key.encode()):
            return _json(403, {"error": "wrong or missing X-Control-Key"})
        if request.method == "POST":
            try:
                self._apply(json.loads(request.body))
            except (ValueError, TypeError, AttributeError) as error:
                return _json(400, {"error": str(error)})
        return _json(200, self._state.shown())

    def _apply(self, wish: Mapping[str, Any]) -> None:
        unknown = set(wish) - _KNOWN
        if unknown:
            raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")
        faults = [Fault.from_json(fault) for fault in wish.get("faults", ())]
        if wish.get("reset"):
            self._state.reset()
        self._state.change(wish.get("set", {}))
        if "service_user_suspended" in wish:
            with self._storage.lease() as db, self._storage.write(db):
                update_user(db, SERVICE_USER_ID, {"suspended": int(bool(wish["service_user_suspended"]))})
        if "token" in wish:
            self._change_token(wish["token"])
        for fault in faults:
            self._state.add_fault(fault)
        if "rendezvous" in wish:
            self._state.expect(int(wish["rendezvous"]))

    def _change_token(self, wish: Mapping[str, Any]) -> None:
        columns = {"valid_until": "validuntil", "ip_restriction": "iprestriction"}
        with self._storage.lease() as db, self._storage.write(db):
            if wish.get("restore"):
                grant_token(db, self._token)
            for name, column in columns.items():
                if name in wish:
                    query = f"UPDATE tokens SET {column} = ? WHERE digest = ?"  # noqa: S608  (columns are ours)
                    db.execute(query, (wish[name], token_digest(self._token)))


def _json(status: int, value: object) -> Reply:
    return Reply(status, "application/json", json.dumps(value).encode())
