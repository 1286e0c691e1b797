"""Nextcloud's provisioning API (OCS, version 1): calls, and the status of answers.

HTTP says 200 to nearly everything; the status is a code in the body. After Nextcloud's administration manual
("Instruction set for users", "for groups") and the source of its app `provisioning_api`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from consumers.kit.connector import ConnectorContext
from consumers.kit.deadline import Deadline
from consumers.kit.http import HttpClient
from pipeline.errors import TargetDown

OK: Final = 100
GONE: Final = (404, 998)  # no such user: which of them depends on the call
PAGE: Final = 200
SHOWN: Final = ("id", "enabled", "groups")

User = Mapping[str, Any]


class Ocs:
    """One Nextcloud. Its methods raise as `HttpClient.call`, and TargetDown for what is no answer of OCS."""

    def __init__(self, context: ConnectorContext[Any]) -> None:
        self.http = HttpClient(context, context.settings.url)

    def write(self, method: str, path: str, deadline: Deadline, *form: tuple[str, str]) -> int:
        """Write, and return OCS's own status code."""
        return self._call(method, path, deadline, *form)[0]

    def user(self, uid: str, deadline: Deadline) -> User | None:
        """Return the user of that name, compared without case; None: there is none."""
        code, data = self._call("GET", path_of(uid), deadline)
        return None if code in GONE else shown(code, data, *SHOWN)

    def page(self, offset: int, limit: int, deadline: Deadline) -> Mapping[str, User]:
        """Return a page of users by id; an empty one is the end, a short one is not."""
        code, data = self._call("GET", "/users/details", deadline, limit=str(limit), offset=str(offset))
        users = shown(code, data, "users")["users"]
        return shown(OK, {} if users == [] else users)  # PHP writes an empty object as []

    def users(self, page_s_max: float) -> Iterator[User]:
        """Return every user, page by page."""
        offset, known = 0, set[str]()
        while page := self.page(offset, PAGE, deadline := Deadline.after(page_s_max)):
            if known.issuperset(page):
                raise TargetDown("the list of users repeats itself", unknown=False)
            for uid in page.keys() - known:
                user = page[uid] if shown(OK, page[uid]).keys() >= {*SHOWN} else self.user(uid, deadline)
                yield from () if user is None else (user,)  # one that its directory lost is shown by id only
            known.update(page)
            offset += PAGE

    def _call(
        self, method: str, path: str, deadline: Deadline, *form: tuple[str, str], **params: str
    ) -> tuple[int, Any]:
        answer = self.http.call(
            method,
            f"/ocs/v1.php/cloud{path}",
            deadline,
            form=form or None,
            params={"format": "json", **params},
            headers={"OCS-APIRequest": "true"},
        )
        try:
            said = answer.json()["ocs"]
            code, data = int(said["meta"]["statuscode"]), said["data"]
        except (KeyError, TypeError, ValueError) as error:
            raise TargetDown("the answer is not one of OCS", unknown=answer.wrote) from error
        if code == OK and not answer.ok:
            raise TargetDown(f"the answer is {answer.status} and {OK} at once", unknown=answer.wrote)
        return code, data


def path_of(uid: str, *rest: str) -> str:
    """Return the path of a user, or of a part of it."""
    return "/".join(("/users", quote(uid, safe=""), *rest))


def shown(code: int, data: Any, *needed: str) -> Mapping[str, Any]:
    """Return what was read. Raises TargetDown: it is an error, or not the whole."""
    if code != OK or not isinstance(data, dict) or not data.keys() >= {*needed}:
        raise TargetDown(f"a read is answered by {code}, and not with the whole", unknown=False)
    return data
