"""The state of a Nextcloud, and its API's answers as status codes of OCS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

OK, INVALID, EXISTS, UNKNOWN, NO_GROUP, NO_RIGHT, NONE_GIVEN, HINT, NO_INVITATION, NOT_FOUND = (
    *(100, 101, 102, 103, 104, 105, 106, 107, 109),
    404,
)
NAME_MAX = 64
UID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _.@-'")
COMMON = frozenset({"123456", "password", "motdepasse"})

Answer = tuple[int, object]
Form = Mapping[str, Sequence[str]]


@dataclass
class User:
    """A user; `id` is as it was given, and compared without its case."""

    id: str
    password: str = ""
    email: str | None = None
    displayname: str = ""
    enabled: bool = True
    groups: set[str] = field(default_factory=set)


class Cloud:
    """Users and groups. `welcomed`: addresses that Nextcloud wrote to by itself."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.users: dict[str, User] = {}
        self.groups: set[str] = {"admin"}
        self.welcomed: list[str] = []
        self.calls: list[tuple[str, str]] = []
        self.refuse_groups = False
        self.common: Callable[[str], bool] = COMMON.__contains__  # passwords that a policy refuses
        # by "METHOD path-end": the code to answer with, whatever was done; and the calls that do nothing
        self.odd: dict[str, int] = {}
        self.ignored: set[str] = set()
        # of listings, by id: left out of their page; shown by their id alone; lost by the directory
        self.hidden: set[str] = set()
        self.bare: set[str] = set()
        self.lost: set[str] = set()
        self.offset_ignored = False

    def answer(self, method: str, path: Sequence[str], form: Form) -> Answer:
        """Carry a call out: its status code and its data."""
        with self.lock:
            self.calls.append((method, "/".join(path)))
            call = f"{method} {path[-1]}"
            done: Answer = (OK, [])
            if call not in self.ignored:
                done = self._answer(method, path, {key: values[-1] for key, values in form.items()}, form)
            return self.odd.get(call, done[0]), done[1]

    def _answer(self, method: str, path: Sequence[str], one: Mapping[str, str], form: Form) -> Answer:
        match method, *path:
            case "GET", "users":
                return OK, {"users": [user.id for user in self._page(one)]}
            case "GET", "users", "details":
                return OK, {"users": {user.id: self._listed(user) for user in self._page(one)} or []}
            case "POST", "users":
                return self._add(one, form.get("groups[]", ())), []
            case "POST", "groups":
                return self._add_group(one.get("groupid", "")), []
            case _, "users", uid, *rest:
                return self._of_user(method, self.users.get(uid.lower()), rest, one)
        return 998, []

    def _of_user(self, method: str, user: User | None, rest: Sequence[str], one: Mapping[str, str]) -> Answer:
        match method, *rest:
            case ("GET",):
                lost = user is None or user.id in self.lost
                return (NOT_FOUND, []) if user is None or lost else (OK, self._shown(user))
            case ("PUT",):
                return (UNKNOWN if user is None else self._edit(user, one["key"], one["value"])), []
            case "PUT", "enable" | "disable" as verb if user is not None:
                user.enabled = verb == "enable"
                return OK, []
            case ("DELETE",) if user is not None:
                del self.users[user.id.lower()]
                return OK, []
            case (("POST" | "DELETE"), "groups"):
                return self._member(method, user, one.get("groupid", "")), []
        return INVALID, []

    def _add(self, one: Mapping[str, str], groups: Sequence[str]) -> int:
        uid, password, email = one.get("userid", ""), one.get("password", ""), one.get("email", "")
        if uid.lower() in self.users:
            return EXISTS
        if not self.groups.issuperset(groups):
            return NO_GROUP
        if not uid.strip() or set(uid) - UID:
            return INVALID
        if self.common(password):
            return HINT
        if not password and not email:
            return 108
        user = self.users[uid.lower()] = User(uid, password, displayname=uid, groups=set(groups))
        if one.get("displayName") and self._edit(user, "displayname", one["displayName"]) != OK:
            return INVALID  # and the user is there
        if not email:
            return OK
        user.email = email.lower()
        self.welcomed.append(email)
        return NO_INVITATION if email.endswith(".invalid") else OK

    def _edit(self, user: User, key: str, value: str) -> int:
        match key:
            case "displayname" | "display" if 0 < len(value) <= NAME_MAX:
                user.displayname = value
            case "email" if not value or "@" in value:
                user.email = value.lower() or None
            case "password":
                user.password = value
            case _:
                return INVALID
        return OK

    def _add_group(self, group: str) -> int:
        if self.refuse_groups:
            return UNKNOWN
        if not group:
            return INVALID
        if group in self.groups:
            return EXISTS
        self.groups.add(group)
        return OK

    def _member(self, method: str, user: User | None, group: str) -> int:
        if group not in self.groups:
            return INVALID if not group else EXISTS  # 102: no such group, here
        if user is None:
            return UNKNOWN  # 103: no such user, here
        if method == "POST":
            user.groups.add(group)
        else:
            user.groups.discard(group)
        return OK

    def _page(self, one: Mapping[str, str]) -> list[User]:
        """Users that the search finds: in id, name or address, whatever the case."""
        search = one.get("search", "").lower()
        found = [
            self.users[uid]
            for uid in sorted(self.users)
            if any(search in (text or "").lower() for text in self._texts(self.users[uid]))
        ]
        offset, limit = int(one.get("offset", 0)), int(one.get("limit", len(found) + 1))
        offset = 0 if self.offset_ignored else offset
        return [user for user in found[offset : offset + limit] if user.id not in self.hidden]

    @staticmethod
    def _texts(user: User) -> tuple[str | None, ...]:
        return user.id, user.displayname, user.email

    def _listed(self, user: User) -> dict[str, object]:
        return {"id": user.id} if user.id in self.bare else self._shown(user)

    @staticmethod
    def _shown(user: User) -> dict[str, object]:
        return {
            "enabled": user.enabled,
            "id": user.id,
            "email": user.email,
            "displayname": user.displayname,
            "groups": sorted(user.groups),
            "backend": "Database",
        }
