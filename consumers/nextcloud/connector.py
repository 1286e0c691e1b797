"""The Nextcloud connector: a user for each student, and groups of a prefix.

Nextcloud has no field for a student number that its owner cannot change and others do not see. A user is ours
if it is in the group `sesame`, which only administrators fill, and has the student's login.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from consumers.kit.connector import (
    Change,
    Connector,
    ConnectorContext,
    Held,
    Refused,
    Seen,
    TargetObject,
    Wanted,
    one_by_one,
    tidy,
)
from consumers.kit.deadline import Deadline
from consumers.kit.reasons import read_reasons
from consumers.kit.settings import HttpConnectorSettings
from consumers.nextcloud.ocs import GONE, OK, Ocs, User, path_of
from pipeline.errors import Misconfigured, TargetDown
from pipeline.settings import ADVANCED
from schemas.account import Account

INVALID, NO_GROUP, NO_RIGHT, GROUP_NEEDED, HINT, NOT_INVITED = 101, 104, 105, 106, 107, 109  # to a new user
MARK = "sesame"
NO_SUCH_GROUP, NOT_YOURS, NOT_ADDED = 102, 104, 105  # to a membership


class NextcloudSettings(HttpConnectorSettings):
    """A Nextcloud, by its provisioning API."""

    place: ClassVar[str] = "nextcloud"
    basic: ClassVar[bool] = True
    group_prefix: str = Field(
        "", description="Students' groups that begin so are given. Empty: none.", json_schema_extra=ADVANCED
    )


class NextcloudConnector(Connector[NextcloudSettings]):
    """Users and groups of one Nextcloud."""

    section = NextcloudSettings
    title: ClassVar = {"fr": "Les fichiers Nextcloud", "en": "Nextcloud files"}
    level = "gold"
    lacks: ClassVar[Mapping[str, str]] = {
        "changes_since": "the provisioning API lists no changes",
    }
    owns = ("email", "displayname", "groups")
    known_by = "mail"
    reasons = read_reasons(Path(__file__).with_name("reasons.toml"))

    def __init__(self, context: ConnectorContext[NextcloudSettings]) -> None:
        super().__init__(context)
        self._ocs = Ocs(context)

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`."""
        groups = {each.key for each in account.groups if each.met and self._is_ours(each.key)}
        mail, name = account.mail.lower(), tidy(account.person.display_name)
        given = tuple(sorted({MARK, *groups}))
        return Wanted({"email": (mail,), "displayname": (name,), "groups": given})

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`: the users with the logins, and those that were adopted."""
        adopted = self.context.adopted([account.student_number for account in accounts])

        def look(account: Account) -> Seen:
            uids = dict.fromkeys((account.login, adopted.get(account.student_number, account.login)))
            users = [self._ocs.user(uid, deadline) for uid in uids]
            return list({user["id"]: self._object(user, account) for user in users if user}.values())

        return one_by_one(accounts, deadline, look)

    def objects(self) -> Iterator[TargetObject]:
        """See `Connector.objects`."""
        yield from map(self._object, self._ocs.users(self.settings.call_s_max))

    def _object(self, user: User, account: Account | None = None) -> TargetObject:
        mail, marked = (user.get("email") or "").lower(), MARK in user["groups"]
        fields = {
            "email": (mail,),
            "displayname": (tidy(user.get("displayname") or ""),),
            "groups": tuple(sorted(filter(self._is_ours, user["groups"]))),
        }
        names = (("login", user["id"]), *((("mail", mail),) if marked else ()))  # strangers may set any
        number = account.student_number if account and marked and user["id"] == account.login else ""
        return TargetObject(user["id"], number, fields, user["enabled"], names)

    def _is_ours(self, group: str) -> bool:
        prefix = self.settings.group_prefix
        return group == MARK or bool(prefix and group.startswith(prefix))

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.apply`."""
        return one_by_one(changes, deadline, lambda change: self._write(change, deadline))

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.close`."""
        return one_by_one(changes, deadline, lambda change: self._access(change, deadline))

    def _write(self, change: Change, deadline: Deadline) -> Held | Refused | None:
        said = self._make(change, deadline) if change.found is None else self._access(change, deadline)
        ref = change.account.login if change.found is None else change.found.ref
        for key in sorted(change.fields.keys() - {"groups"}):
            if said is None:
                form = ("key", key), ("value", change.fields[key][0])
                said = _refusal(self._ocs.write("PUT", path_of(ref), deadline, *form))
        return said or self._regroup(ref, change, deadline)

    def _access(self, change: Change, deadline: Deadline) -> Refused | None:
        if change.found is None or change.open is None:
            return None
        path = path_of(change.found.ref, "enable" if change.open else "disable")
        return _refusal(self._ocs.write("PUT", path, deadline), "nextcloud_undone")

    def _make(self, change: Change, deadline: Deadline) -> Held | Refused | None:
        """Make a user with our mark and a random password. With an address it would get a mail."""
        password = f"aA1!{secrets.token_urlsafe(40)}"
        form = ("userid", change.account.login), ("password", password), ("groups[]", MARK)
        code = self._ocs.write("POST", "/users", deadline, *form)
        if code in (NO_GROUP, NO_RIGHT, GROUP_NEEDED):
            remedy = f"Make the group {MARK}, and Sésame's user in Nextcloud an administrator."
            raise Misconfigured(f"Nextcloud answers {code} to a new user in Sésame's group", remedy=remedy)
        if code == HINT:
            return Held("nextcloud_policy")
        return None if code == NOT_INVITED else _refusal(code)

    def _regroup(self, ref: str, change: Change, deadline: Deadline) -> Held | Refused | None:
        has = {MARK} if change.found is None else {*change.found.fields["groups"]}
        wanted = {*change.fields.get("groups", has)}
        missing = []
        for group in sorted(has ^ wanted):
            verb, path = "POST" if group in wanted else "DELETE", path_of(ref, "groups")
            code = self._ocs.write(verb, path, deadline, ("groupid", group))
            if code == NO_SUCH_GROUP and group in wanted:
                self._ocs.write("POST", "/groups", deadline, ("groupid", group))
                code = self._ocs.write(verb, path, deadline, ("groupid", group))
            if code in (NO_SUCH_GROUP, NOT_YOURS, NOT_ADDED):
                missing.append(group)
            elif code != OK:
                return _refusal(code)
        return Held("nextcloud_group_missing", tuple(missing), fields=("groups",)) if missing else None

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.erase`: with their files."""
        return one_by_one(found, deadline, lambda each: self._delete(each.ref, deadline))

    def _delete(self, ref: str, deadline: Deadline) -> Refused | None:
        code = self._ocs.write("DELETE", path_of(ref), deadline)
        return None if code in GONE else _refusal(code, "nextcloud_kept")

    def probe(self) -> None:
        """See `Connector.probe`: list one user, at least Sésame's own."""
        if not self._ocs.page(0, 1, Deadline.after(self.settings.verb_s_max)):
            raise TargetDown("Nextcloud shows no user, not even Sésame's own", unknown=False)

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._ocs.http.disconnect()


def _refusal(code: int, cause: str = "") -> Refused | None:
    if code == OK:
        return None
    cause = cause or ("nextcloud_refused" if code == INVALID else "nextcloud_undone")
    return Refused(cause, f"Nextcloud answers {code}", lasting=cause != "nextcloud_undone")
