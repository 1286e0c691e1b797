"""Moodle's exceptions as the REST protocol shows them.

Each carries the PHP class, the error code and the message for the client, and the `debuginfo`, sent only when
the site displays debugging messages.
"""

from __future__ import annotations

from collections.abc import Mapping

INVALID_PARAMETER = "Invalid parameter value detected"

_CAPABILITY_NAMES: Mapping[str, str] = {
    "moodle/user:create": "Create users",
    "moodle/user:update": "Update user profiles",
    "moodle/user:delete": "Delete users",
    "moodle/cohort:manage": "Create, delete and move cohorts",
    "moodle/cohort:assign": "Add and remove cohort members",
    "moodle/cohort:view": "View site-wide cohorts",
}


class MoodleError(Exception):
    """An answer with an `exception` key: HTTP 200, and nothing of the call was kept."""

    def __init__(self, exception: str, errorcode: str, message: str, debuginfo: str | None = None) -> None:
        super().__init__(message)
        self.exception = exception
        self.errorcode = errorcode
        self.message = message
        self.debuginfo = debuginfo

    def shown(self, *, debug_display: bool) -> dict[str, object]:
        """Return the answer's object, with `debuginfo` on a site that displays debugging."""
        answer: dict[str, object] = {
            "exception": self.exception,
            "errorcode": self.errorcode,
            "message": self.message,
        }
        if debug_display and self.debuginfo is not None:
            answer["debuginfo"] = self.debuginfo
        return answer


def invalid_parameter(debuginfo: str) -> MoodleError:
    """The error that hides almost every bad row: the cause is in `debuginfo` only."""
    return MoodleError(
        r"core\exception\invalid_parameter_exception", "invalidparameter", INVALID_PARAMETER, debuginfo
    )


def moodle_exception(errorcode: str, message: str, debuginfo: str | None = None) -> MoodleError:
    """Return a plain `moodle_exception`."""
    return MoodleError(r"core\exception\moodle_exception", errorcode, message, debuginfo)


def untranslated(errorcode: str) -> MoodleError:
    """A `moodle_exception` whose code has no text: it reads `error/CODE`."""
    return moodle_exception(errorcode, f"error/{errorcode}")


def coding_error(hint: str, debuginfo: str | None = None) -> MoodleError:
    """The error of a call that Moodle takes for a programmer's mistake."""
    message = f"Coding error detected, it must be fixed by a programmer: {hint}"
    return MoodleError(r"core\exception\coding_exception", "codingerror", message, debuginfo)


def write_error(debuginfo: str) -> MoodleError:
    """The error of any failed write: too long, not unique, deadlock, lock time-out."""
    return MoodleError("dml_write_exception", "dmlwriteexception", "Error writing to database", debuginfo)


def missing_record(table: str, column: str, value: object) -> MoodleError:
    """The error of a missing row that had to exist; the user table has its own code."""
    shown = f"'{value}'" if isinstance(value, str) else str(value)
    debuginfo = f"SELECT * FROM {{{table}}} WHERE {column} = ?\n[array (\n  0 => {shown},\n)]"  # noqa: S608  (shown, not run)
    if table == "user":
        return MoodleError("dml_missing_record_exception", "invaliduser", "Invalid user", debuginfo)
    message = f"Can't find data record in database table {table}."
    return MoodleError("dml_missing_record_exception", "invalidrecord", message, debuginfo)


def access_refused(debuginfo: str) -> MoodleError:
    """The error of a token, service or protocol that does not open this function."""
    return MoodleError(
        "webservice_access_exception", "accessexception", "Access control exception", debuginfo
    )


def no_permission(capability: str) -> MoodleError:
    """The error of a service user whose role lacks a capability."""
    name = _CAPABILITY_NAMES.get(capability, capability)
    message = f"Sorry, but you do not currently have permissions to do that ({name})."
    return MoodleError(r"core\exception\required_capability_exception", "nopermissions", message)


def database_unreachable() -> MoodleError:
    """The error of a site whose database refuses connections."""
    paragraphs = (
        "Error: Database connection failed",
        "It is possible that the database is overloaded or otherwise not running properly.",
        (
            "The site administrator should also check that the database details have been correctly "
            "specified in config.php"
        ),
    )
    message = "\r\n".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return MoodleError("dml_connection_exception", "dbconnectionfailed", message)
