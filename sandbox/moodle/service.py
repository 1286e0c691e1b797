"""The REST server: the site's checks, token, service, rights, the function.

The order of the checks is Moodle's: a site that is down answers so before it looks at a token, and a function
that does not exist differs from one that the service does not contain.
"""

from __future__ import annotations

import hmac
import ipaddress
import sqlite3
import time
from typing import Final

from sandbox.moodle import cohorts, members, render, site, users, users_read, users_update
from sandbox.moodle.call import Call, Function
from sandbox.moodle.conditions import Conditions, Fault, SiteState
from sandbox.moodle.errors import (
    MoodleError,
    access_refused,
    database_unreachable,
    invalid_parameter,
    missing_record,
    moodle_exception,
)
from sandbox.moodle.params import validate
from sandbox.moodle.phpform import PhpArray
from sandbox.moodle.storage import Storage, token_digest
from sandbox.moodle.web import Reply

_FUNCTIONS: Final[dict[str, Function]] = {
    **site.FUNCTIONS,
    **users.FUNCTIONS,
    **users_update.FUNCTIONS,
    **users_read.FUNCTIONS,
    **cohorts.FUNCTIONS,
    **members.FUNCTIONS,
}

_OTHER_FUNCTIONS: Final = frozenset(
    {
        "core_course_get_courses", "core_course_create_courses", "core_enrol_get_enrolled_users",
        "core_enrol_get_users_courses", "core_group_add_group_members", "core_role_assign_roles",
        "core_user_add_user_private_files", "enrol_manual_enrol_users", "core_files_upload",
    }
)  # fmt: skip
"""Functions of Moodle that the service does not contain (some of the several hundred)."""

_CONTROL_FIELDS: Final = (
    "wstoken", "wsfunction", "moodlewsrestformat", "moodlewssettingraw", "moodlewssettingfileurl",
    "moodlewssettingfilter", "moodlewssettinglang",
)  # fmt: skip

_HTML: Final = "text/html; charset=utf-8"


class RestServer:
    """Answers one PHP request: `answer` never raises for what a client sends."""

    def __init__(self, storage: Storage, state: SiteState) -> None:
        self._storage = storage
        self._state = state

    def answer(self, variables: PhpArray, client_address: str, fault: Fault | None) -> Reply:
        """Return the reply to the request's variables (`$_GET` and `$_POST` together).

        Raises WorkerKilled when php-fpm would end the worker.
        """
        conditions = self._state.conditions
        refused = _before_bootstrap(conditions)
        if refused is not None:
            return refused
        as_json = variables.get("moodlewsrestformat") == "json"
        try:
            _bootstrap(conditions)
            if not (conditions.web_services and conditions.rest_protocol):
                return Reply(403, _HTML)
            value = self._call(variables, client_address, conditions, fault)
        except MoodleError as error:
            return render.error(error, as_json=as_json, debug_display=conditions.debug_display)
        return render.result(value, as_json=as_json)

    def _call(
        self, variables: PhpArray, client_address: str, conditions: Conditions, fault: Fault | None
    ) -> object:
        with self._storage.lease() as db:
            caller = self._authenticate(db, variables.get("wstoken"), client_address)
            call = Call(self._storage, db, self._state, conditions, caller, fault)
            _check_caller(call)
            function = _function(variables.get("wsfunction"), conditions)
            given = {name: value for name, value in variables.items() if name not in _CONTROL_FIELDS}
            return function.handler(call, validate(function.parameters, given))

    def _authenticate(self, db: sqlite3.Connection, token: object, client_address: str) -> sqlite3.Row:
        """Return the token's user; an expired token is deleted as soon as it is seen."""
        digest = token_digest(token) if isinstance(token, str) else ""
        row = db.execute("SELECT * FROM tokens WHERE digest = ?", (digest,)).fetchone()
        if row is None or not hmac.compare_digest(row["digest"], digest):
            raise moodle_exception("invalidtoken", "Invalid token - token not found")
        if row["validuntil"] is not None and row["validuntil"] < time.time():
            with self._storage.write(db):
                db.execute("DELETE FROM tokens WHERE digest = ?", (digest,))
            raise access_refused("Invalid token - token expired - check validuntil time for the token")
        if row["iprestriction"] and not _is_within(client_address, row["iprestriction"]):
            raise access_refused(f"Invalid service - IP:{client_address} is not supported")
        caller: sqlite3.Row | None = db.execute(
            "SELECT * FROM users WHERE id = ?", (row["userid"],)
        ).fetchone()
        if caller is None or caller["deleted"]:
            raise missing_record("user", "id", row["userid"])
        return caller


def _before_bootstrap(conditions: Conditions) -> Reply | None:
    if not conditions.dataroot_writable:
        text = "$CFG->dataroot is not writable, admin has to fix directory permissions! Exiting."
        return Reply(500, "text/html; charset=UTF-8", f"Fatal error: {text}\n".encode())
    if conditions.cli_maintenance:
        title = f"{conditions.site_name} under maintenance"
        page = (
            f'<!DOCTYPE html>\r\n<html  lang="en" xml:lang="en">\r\n<head><title>{title}</title></head>\r\n'
            "<body><p>This site is undergoing maintenance and is currently not available</p></body></html>"
        )
        return Reply(503, _HTML, page.encode(), {"Retry-After": "300"})
    return None


def _bootstrap(conditions: Conditions) -> None:
    if conditions.database_down:
        raise database_unreachable()
    if conditions.upgrade_running:
        raise moodle_exception("upgraderunning", "Site is being upgraded, please retry later.")


def _check_caller(call: Call) -> None:
    if call.conditions.web_maintenance:
        raise moodle_exception(
            "sitemaintenance", "The site is undergoing maintenance and is currently not available"
        )
    if call.caller["suspended"]:
        username = call.caller["username"]
        raise moodle_exception(
            "wsaccessusersuspended", f"Refused web service access for suspended username: {username}"
        )
    if not call.has("webservice/rest:use"):
        raise access_refused(
            "You are not allowed to use the rest protocol (missing capability: webservice/rest:use)"
        )


def _function(name: object, conditions: Conditions) -> Function:
    if not isinstance(name, str) or not name:
        raise invalid_parameter("Missing function name")
    if name not in _FUNCTIONS and name not in _OTHER_FUNCTIONS:
        raise missing_record("external_functions", "name", name)
    if not conditions.service_enabled or name not in site.SERVICE_FUNCTIONS:
        raise access_refused(_not_allowed(name))
    return _FUNCTIONS[name]


def _not_allowed(name: str) -> str:
    reasons = (
        "There could be multiple reasons for this:",
        "1. The service linked to the user token does not contain the function.",
        "2. The service is user-restricted and the user is not listed.",
        "3. The service is IP-restricted and the user IP is not listed.",
        "4. The service is time-restricted and the time has expired.",
        "5. The token is time-restricted and the time has expired.",
        "6. The service requires a specific capability which the user does not have.",
    )
    indented = "".join(f"\r\n{' ' * 21}{reason}" for reason in reasons)
    return f"Access to the function {name}() is not allowed.{indented}"


def _is_within(address: str, subnets: str) -> bool:
    return any(
        ipaddress.ip_address(address) in ipaddress.ip_network(subnet.strip(), strict=False)
        for subnet in subnets.split(",")
    )
