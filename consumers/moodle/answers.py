"""What an answer of Moodle's REST server means.

Almost every error is HTTP 200 with an object that has an `exception` key; the rest comes from PHP, from the
web server before it, or from Moodle's maintenance page. This file knows them all and does no IO. The members
of a large answer are taken one after the other, while it arrives.

Source: recorded exchanges with Moodle 4.5 (tests/contract), and `webservice/rest` of Moodle's documentation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final

from consumers.kit.http_answers import HttpAnswer, speaks_tls
from consumers.moodle.errors import Broken, MoodleRefused, OutcomeUnknown, RightMissing, WriteRefused
from pipeline.errors import CredentialsRefused, Misconfigured, OutOfOrder, TargetDown

_RENEW: Final = (
    "issue a new token for the service user (Site administration > Server > Web services > Manage tokens) "
    "and put it in the secret file; an expired token is deleted by Moodle"
)
_REMEDY_ACCESS: Final = (
    "check that web services, the REST protocol and the service are enabled, that the service contains the "
    "functions that this consumer's documentation names, that the token has neither expired nor an IP "
    "restriction that leaves this host out, and that the service user has webservice/rest:use"
)
_REMEDY_RIGHTS: Final = (
    "give the service user's role, at system level: moodle/user:create, moodle/user:update, "
    "moodle/user:viewdetails, moodle/user:viewalldetails, moodle/site:viewuseridentity, "
    "moodle/cohort:manage, webservice/rest:use; `sesame doctor --only moodle` says which of them is missing"
)
_REMEDY_ENABLE: Final = (
    "enable web services and the REST protocol (Site administration > Server > Web services)"
)
_REMEDY_URL: Final = (
    "check moodle.base_url: it must be the site's own address ($CFG->wwwroot), without a redirection"
)
_REMEDY_SIZE: Final = "raise post_max_size of the site's PHP, or lower moodle.batch_size"

_MISCONFIGURED: Final = {
    "invalidtoken": _RENEW,
    "invalidtimedtoken": _RENEW,
    "accessexception": _REMEDY_ACCESS,
    "servicenotavailable": _REMEDY_ACCESS,
    "enablewsdescription": _REMEDY_ENABLE,
    "wsaccessusersuspended": "lift the suspension of the service user in Moodle",
    "wsaccessuserdeleted": "create the service user again, and a token for it",
    "wsaccessuserunconfirmed": "confirm the service user in Moodle",
    "wsaccessuserexpired": "renew the service user's password in Moodle",
    "wsaccessusernologin": "give the service user an authentication method that may log in, e.g. webservice",
    "sitepolicynotagreed": "agree to the site policy as the service user",
    "forcepasswordchangenotice": "change the service user's password once in the browser",
    "nopasswordchangeforced": (
        "clear *Force password change* of the service user: Moodle has no page where one who logs in by the "
        "method webservice could change it"
    ),
}
_CREDENTIALS: Final = frozenset(
    {"invalidtoken", "invalidtimedtoken", "accessexception"}
)  # an expired token: the last
_RIGHTS: Final = frozenset({"nopermissions", "missingrequiredcapability"})
_DOWN: Final = frozenset({"sitemaintenance", "upgraderunning", "dbconnectionfailed"})
_DML_WRITE: Final = frozenset({"dml_write_exception", "dml_transaction_exception"})
_ERRORCODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_/:-]{0,59}")


def is_json(answer: HttpAnswer) -> bool:
    """Whether an answer is declared as JSON; any other is not Moodle's."""
    return _content_type(answer).startswith("application/json")


def result_of(answer: HttpAnswer) -> Any:
    """The JSON value that Moodle returned (None for `null`).

    Raises:
        MoodleRefused, WriteRefused: Moodle says no to these parameters.
        Broken: PHP died, or what came is not the protocol.
        OutcomeUnknown: a gateway gave up; PHP may be carrying on.
        TargetDown, Throttled, Misconfigured: the site as a whole is away or refuses us.
    """
    if answer.status != HTTPStatus.OK:
        raise _status_error(answer)
    if answer.body is None:
        raise Broken("Moodle's answer is longer than may be read")
    if not is_json(answer):
        raise _not_json(answer)
    if not answer.body.strip():
        raise Broken("Moodle answered an empty body: PHP ran out of memory or crashed")
    return _value(answer.body)


def _value(text: str | bytes) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Broken("Moodle's answer is not JSON") from None
    if isinstance(value, dict) and "exception" in value:
        raise _exception(value)
    return value


def _status_error(answer: HttpAnswer) -> Exception:
    status = answer.status
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return answer.throttled("the site asked for fewer calls")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        # Moodle's own maintenance page says Retry-After as well, yet a probe finds out sooner than it
        # promises.
        if answer.retry_after_s is not None and not _is_maintenance(answer):
            return answer.throttled("the site asked to be called later")
        if _is_maintenance(answer):
            return TargetDown("Moodle is in maintenance (503)", unknown=False)
        return OutOfOrder("the site is overloaded, or away for a moment (503)", unknown=False)
    if status == HTTPStatus.BAD_GATEWAY:
        return OutOfOrder("the web server cannot reach PHP, or PHP was ended (502)")
    if status in (408, 504):
        return OutcomeUnknown(f"a gateway gave up waiting ({status}): PHP may still be working")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Broken(f"PHP failed ({status})")
    if status in (401, 403):
        return Misconfigured(f"the site refuses web-service calls ({status})", remedy=_REMEDY_ENABLE)
    if status in (413, 414, 431):
        return Misconfigured(f"the site refuses calls of this size ({status})", remedy=_REMEDY_SIZE)
    return _elsewhere(answer)


def _elsewhere(answer: HttpAnswer) -> Misconfigured:
    if speaks_tls(answer):
        return Misconfigured("the site speaks TLS on this port", remedy="write https in moodle.base_url")
    return Misconfigured(f"there is no REST server at this address ({answer.status})", remedy=_REMEDY_URL)


def _not_json(answer: HttpAnswer) -> Exception:
    if not (answer.body or b"").strip():
        return Broken("Moodle answered an empty body: PHP ran out of memory or crashed")
    if "xml" in _content_type(answer):
        # The form is the first thing in the body: an answer in XML means that PHP read none of it.
        return Misconfigured("PHP dropped the body of the call", remedy=_REMEDY_SIZE)
    if _is_maintenance(answer):
        return TargetDown("Moodle is in maintenance", unknown=False)
    return Broken("the site answered a page instead of JSON")


def _exception(value: dict[str, Any]) -> Exception:
    kind = str(value["exception"]).rpartition("\\")[2]
    code = str(value.get("errorcode", ""))
    if not _ERRORCODE.fullmatch(code):
        code = "unclassified"  # some plugins put sentences there
    if code in _DOWN or kind == "dml_connection_exception":
        return TargetDown(f"Moodle is out of order: {code}", unknown=False)
    if code in _RIGHTS:
        return RightMissing(f"Moodle refuses the service user: {code}", remedy=_REMEDY_RIGHTS)
    if code in _MISCONFIGURED:
        refusal = CredentialsRefused if code in _CREDENTIALS else Misconfigured
        return refusal(f"Moodle refuses the service user: {code}", remedy=_MISCONFIGURED[code])
    if kind in ("webservice_access_exception", "required_capability_exception"):
        return Misconfigured(f"Moodle refuses the service user: {code}", remedy=_REMEDY_ACCESS)
    if code == "invalidrecord" and "external_functions" in str(value.get("message")):
        return Misconfigured("the site does not know a function that is needed", remedy=_REMEDY_ACCESS)
    if kind in _DML_WRITE or code == "dmlwriteexception":
        return WriteRefused(code)
    if kind == "dml_read_exception":
        return Broken("the site's database could not be read")
    return MoodleRefused(code)


def _is_maintenance(answer: HttpAnswer) -> bool:
    return b"maintenance" in (answer.body or b"")[:4096].lower()


def _content_type(answer: HttpAnswer) -> str:
    return answer.headers.get("content-type", "").lower()


_ITEM_CHARS_MAX: Final = 1_000_000
_DECODER: Final = json.JSONDecoder()


def members(pieces: Iterable[str], key: str) -> Iterator[Any]:
    """The members of the array `key`, which must come first in the answer's object.

    Anything else that Moodle says instead (an exception, say) is read whole and raised as `result_of` does.

    Raises:
        Broken: the text ends within the array, or is not JSON.
    """
    source = iter(pieces)
    opening = re.compile(r'\s*\{\s*"' + re.escape(key) + r'"\s*:\s*\[')
    buffer = ""
    for piece in source:
        buffer += piece
        if found := opening.match(buffer):
            yield from _array(buffer[found.end() :], source)
            return
        if len(buffer) > _ITEM_CHARS_MAX:
            raise Broken("Moodle's answer does not begin as expected")
    if not buffer.strip():
        raise Broken("Moodle answered an empty body: PHP ran out of memory or crashed")
    _value(buffer)
    raise Broken("Moodle's answer does not hold the list that was asked for")


def _array(buffer: str, source: Iterator[str]) -> Iterator[Any]:
    while True:
        buffer = buffer.lstrip(" \t\r\n,")
        if buffer.startswith("]"):
            return
        if buffer:
            try:
                value, end = _DECODER.raw_decode(buffer)
            except ValueError:
                if len(buffer) > _ITEM_CHARS_MAX:
                    raise Broken("Moodle's answer is not JSON") from None
            else:
                yield value
                buffer = buffer[end:]
                continue
        try:
            buffer += next(source)
        except StopIteration:
            raise Broken("Moodle's answer ended too early") from None
