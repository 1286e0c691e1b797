"""What each entry needs beyond its request: the site's state, how it is sent, what the recording left out."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from sandbox.moodle import MoodleStandIn
from tests.contract.comparing import Ids
from tests.contract.recording import Entry, Naming
from tests.contract.sending import Sending, members, users

VIEW_CAPABILITIES = {
    "moodle/user:viewdetails",
    "moodle/user:viewalldetails",
    "moodle/user:viewhiddendetails",
    "moodle/site:viewuseridentity",
    "moodle/user:update",
}
"""The capabilities that the recorder took away and gave back one by one."""

_SENDINGS = {
    "invalid token": Sending(token="0" * 32),
    "missing token": Sending(token=None),
    "empty token": Sending(token=""),
    "no moodlewsrestformat (XML)": Sending(json_format=False),
    "JSON body instead of form": Sending(place="query", body="json"),
    "token in Authorization header": Sending(place="authorization"),
    "GET": Sending(method="GET"),
    "[debug] invalid token": Sending(token="0" * 32),
    "[state] database down, XML": Sending(json_format=False),
}

_DECIMAL_VERSION = {"version": "2024100706.00"}  # Moodle's own command line had rewritten it by then

_SETS: dict[str, dict[str, Any]] = {
    "[state] web services disabled": {"web_services": False},
    "[state] REST protocol disabled": {"rest_protocol": False},
    "[state] service disabled": {"service_enabled": False},
    "[state] capability moodle/user:create missing": {"missing_capabilities": ["moodle/user:create"]},
    "[state] web maintenance mode (maintenance.php --enableold: config maintenance_enabled)": {
        "web_maintenance": True
    },
    "[state] CLI maintenance mode (maintenance.php --enable: climaintenance.html)": {"cli_maintenance": True},
    "[state] CLI maintenance mode, create": {"cli_maintenance": True},
    "[state] upgrade running": {"upgrade_running": True},
    "[state] (control) normal again": _DECIMAL_VERSION,
    "[state] code newer than database (upgrade pending)": {"version": "2024100705.00"},
    "[state] database down": {"database_down": True},
    "[state] database down, XML": {"database_down": True},
    "[state] database back": _DECIMAL_VERSION,
    "[state] row locks held (innodb_lock_wait_timeout 3 s): add member": {"rows_locked": True},
    "[caps] by_field idnumber, role without any view/update capability": {
        "missing_capabilities": sorted(VIEW_CAPABILITIES)
    },
    "[caps] by_field idnumber, role with user:update but no view capability": {
        "missing_capabilities": sorted(VIEW_CAPABILITIES - {"moodle/user:update"})
    },
    "[caps] by_field, viewdetails + viewuseridentity only": {
        "missing_capabilities": sorted(
            VIEW_CAPABILITIES - {"moodle/user:viewdetails", "moodle/site:viewuseridentity"}
        )
    },
    "[caps] add members without cohort:assign": {
        "missing_capabilities": ["moodle/cohort:assign", "moodle/cohort:manage"]
    },
    "[caps] without webservice/rest:use": {"missing_capabilities": ["webservice/rest:use"]},
    "[limit] php-fpm down": {"fpm_down": True},
    "[limit2] dataroot not writable": {"dataroot_writable": False},
    "[limit2] too many connections (max_connections reached)": {"database_down": True},
}
"""What is set at the control interface before the entry."""

_WISHES: dict[str, dict[str, Any]] = {
    "[state] token expired": {"token": {"valid_until": 1.0}},
    "[state] token IP restriction": {"token": {"ip_restriction": "192.0.2.0/24"}},
    "[state] service user suspended": {"service_user_suspended": True},
    "[state] mdl_user locked by another session for 4 s": {"faults": [{"kind": "delay", "delay_s": 0.2}]},
}
"""What else is asked for there."""


def sending_of(entry: Entry) -> Sending:
    """Return how the recorder sent the entry's request."""
    return _SENDINGS.get(entry.name, Sending())


def wish_of(entry: Entry) -> dict[str, Any]:
    """Return what the control interface has to be asked for before the entry."""
    if entry.name.startswith("[debug]"):
        return {"set": {"debug_display": True}}
    kept = re.search(r"\[caps2\].* kept: (.*)", entry.name)
    if kept is not None:
        missing = VIEW_CAPABILITIES - set(kept[1].split(","))
        return {"set": {"missing_capabilities": sorted(missing)}}
    return {"set": _SETS[entry.name]} if entry.name in _SETS else _WISHES.get(entry.name, {})


def prepare(moodle: MoodleStandIn, entry: Entry) -> bool:
    """Put the site into the entry's state; True if it has to be put back afterwards."""
    wish = wish_of(entry)
    if wish:
        moodle.control(**wish)
    return bool(wish)


_SITE_INFO = {"wsfunction": "core_webservice_get_site_info", "params": None}

_UNRECORDED_REQUESTS: dict[str, dict[str, Any]] = {
    "JSON body instead of form": {
        "wsfunction": "core_user_create_users",
        "params": {"users": [{"username": "c1", "firstname": "É", "lastname": "O"}]},
    },
    "token in Authorization header": _SITE_INFO,
    "GET": _SITE_INFO,
    "[more] get_users bad key returns everybody": {
        "wsfunction": "core_user_get_users",
        "params": {"criteria": [{"key": "nosuch", "value": "x"}]},
    },
    "[more] get_users with empty criteria (none sent)": {"wsfunction": "core_user_get_users", "params": {}},
    "[limit] php-fpm down": _SITE_INFO,
    "[limit2] dataroot not writable": _SITE_INFO,
    "[limit2] too many connections (max_connections reached)": _SITE_INFO,
}
"""Requests of entries that tell what was sent by their name only."""


def request_of(entry: Entry, naming: Naming, ids: Ids) -> dict[str, Any] | None:
    """Return the entry's request under these names and with this site's ids; None if it has no request."""
    request = entry.fields.get("request") or _UNRECORDED_REQUESTS.get(entry.name)
    if request is None:
        return None
    params = request["params"]
    if isinstance(params, dict) and "_shortened" in params:
        params = _LONG_PARAMS[params["_shortened"]]
    return {
        "wsfunction": request["wsfunction"],
        "params": _with_ids(naming.value(params), kind_of(request["wsfunction"]), ids),
    }


def kind_of(wsfunction: str | None) -> str:
    """Say whose ids a plain `id` is in this function's requests and answers."""
    return "cohort" if (wsfunction or "").startswith("core_cohort") else "user"


_HUNDRED = members("k1", "c", 100, 1000)

_LONG_PARAMS: dict[str, dict[str, Any]] = {
    "values: c0..c99": {"field": "username", "values": [f"c{number}" for number in range(100)]},
    "100 users c1000..c1099": {"users": users("c", 100, first=1000)},
    "100 members of k1": {"members": _HUNDRED},
    "same 100": {"members": _HUNDRED},
    "k1 id": {"cohortids": [1]},
}
"""Requests that the recording describes instead of repeating."""

_ID_KEYS = {"cohortid": "cohort", "userid": "user", "userids": "user", "cohortids": "cohort"}


def _with_ids(value: Any, kind: str, ids: Ids, key: str = "") -> Any:
    """Replace recorded ids by this site's."""
    if isinstance(value, dict):
        if value.get("type") == "id" and key in ("usertype", "cohorttype"):
            return {"type": "id", "value": ids.actual(key.removesuffix("type"), value["value"])}
        return {name: _with_ids(item, kind, ids, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_ids(item, kind, ids, key) for item in value]
    id_kind = kind if key == "id" else _ID_KEYS.get(key)
    return ids.actual(id_kind, value) if id_kind is not None and isinstance(value, int) else value


_USER_COLUMNS = "SELECT username, auth, password, confirmed, deleted, 1 FROM users WHERE username IN (?, ?)"

LOOKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "db: password column of the two cas users": (_USER_COLUMNS, ("c5", "c6")),
    "db: lastname stored for c27": ("SELECT lastname FROM users WHERE username = ?", ("c27",)),
    "db: after that batch (c31,c33 left?)": (
        "SELECT count(*) FROM users WHERE username IN (?, ?)",
        ("c31", "c33"),
    ),
    "db: after those (c31,c33 left?)": (
        "SELECT count(*) FROM users WHERE username IN (?, ?)",
        ("c31", "c33"),
    ),
    "db: cohorts k2,k3 left?": ("SELECT count(*) FROM cohorts WHERE idnumber IN (?, ?)", ("k2", "k3")),
    "db: c31 row": (
        "SELECT username, firstname, lastname, email, suspended FROM users WHERE username = ?",
        ("c31",),
    ),
    "db: deleted row": (
        "SELECT username, idnumber, email, deleted FROM users WHERE username LIKE ? AND deleted = 1",
        ("c33@univ.example.%",),
    ),
    "[more] db: stored lastnames, country c29": (
        "SELECT username, '|' || lastname || '|', country FROM users WHERE username IN (?, ?, ?, ?)",
        ("c29", "c2001", "c2002", "c2003"),
    ),
    "[state] db: rows left of that token after its expiry was seen": ("SELECT count(*) FROM tokens", ()),
}
"""How to look into the stand-in's database for what the recorder looked up in Moodle's."""


def recorded_look(entry: Entry, naming: Naming) -> str:
    """Return the recorded rows under these names; a deleted user's mail is the digest of the username."""
    text = naming.text(str(entry.fields.get("sql", entry.fields.get("sql_result"))))
    old, new = (
        hashlib.md5(name.encode(), usedforsecurity=False).hexdigest() for name in ("c33", naming.text("c33"))
    )
    return text.replace(old, new)
