"""The methods of BSS: each turns a form into a `Response`'s inside, or refuses."""

from __future__ import annotations

import hashlib
import hmac
import random
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from sandbox.partage.accounts import ATTRIBUTES, Accounts, AddressTaken, MailAccount
from sandbox.partage.conditions import State
from sandbox.partage.query import FilterInvalid, matching

Form = Mapping[str, str]
Node = tuple[str, "str | Sequence[Node]", str]
"""An element: its name, its text or its children, and its `type`."""

SUCCESS: Final = "Opération réalisée avec succès !"

_STAMP_S_MAX: Final = 300.0
_STATUSES: Final = ("active", "closed", "locked")
_SORTABLE: Final = ("mail", "givenName", "sn", "displayName")
_HASH: Final = re.compile(r"\{[A-Za-z0-9-]+\}.+")
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+")
_LISTED: Final = ("used", "quota", "admin", "cos_name")


class Refusal(Exception):
    """A status other than 0, with its message."""


class Service:
    """One domain's BSS."""

    def __init__(
        self,
        accounts: Accounts,
        state: State,
        *,
        domain: str,
        key: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._state = state
        self._domain = domain
        self._key = key
        self._now = now
        self._tokens: dict[str, float] = {}
        self._methods: dict[str, Callable[[Form], Sequence[Node]]] = {
            "GetAccount": self._get,
            "GetAllAccounts": self._get_all,
            "CreateAccount": self._create,
            "ModifyAccount": self._modify,
            "SetPassword": self._set_password,
            "RenameAccount": self._rename,
            "DeleteAccount": self._delete,
            "AddAccountAlias": self._add_alias,
            "RemoveAccountAlias": self._remove_alias,
            "GetDomain": lambda _form: [("domain", [("name", self._domain, "")], "")],
            "CountObjects": self._count,
        }

    def knows(self, method: str) -> bool:
        """Whether there is such a method."""
        return method == "Auth" or method in self._methods

    def call(self, method: str, token: str, form: Form) -> Sequence[Node]:
        """Carry a call out. Raises `Refusal`, with the reason."""
        if method == "Auth":
            return self._auth(form)
        if self._tokens.get(token, 0.0) <= self._now():
            raise Refusal("Invalid token")
        with self._accounts.lock:
            self._accounts.taken = {each.lower() for each in self._state.conditions.taken}
            try:
                return self._methods[method](form)
            except AddressTaken as taken:
                raise Refusal(f"email address already exists: {taken}") from taken

    def expire(self) -> None:
        """Invalidate every token."""
        self._tokens.clear()

    def _auth(self, form: Form) -> Sequence[Node]:
        domain, stamp = _required(form, "domain"), _required(form, "timestamp")
        due = hmac.new(self._key.encode(), f"{domain}|{stamp}".encode(), hashlib.sha1).hexdigest()
        if domain != self._domain or not hmac.compare_digest(due, _required(form, "preauth")):
            raise Refusal("preauth invalide pour ce domaine")
        if not stamp.isdecimal() or abs(int(stamp) - self._now()) > _STAMP_S_MAX:
            raise Refusal("timestamp expiré")
        token = secrets.token_hex(16)
        self._tokens[token] = self._now() + self._state.conditions.token_s
        return [("token", token, "")]

    # --- reading ------------------------------------------------------------------------------------

    def _get(self, form: Form) -> Sequence[Node]:
        account = self._named(_required(form, "name"))
        names = sorted(ATTRIBUTES - {"userPassword"})
        return [("account", self._shown(account, ("id", *_LISTED, "zimbraMailAlias", *names)), "")]

    def _get_all(self, form: Form) -> Sequence[Node]:
        try:
            found = [
                self._accounts.by_id(id_) for id_ in matching(self._accounts, form.get("ldap_query", ""))
            ]
        except FilterInvalid as error:
            raise Refusal("invalid filter") from error
        found = [one for one in found if one.name not in self._state.conditions.unseen]
        self._sort(found, form.get("sortby", ""), form.get("sortascending", "TRUE"))
        offset, limit = _number(form, "offset", 0), _number(form, "limit", 100)
        asked = [each.strip() for each in form.get("attrs", "").split(",") if each.strip()] or _LISTED
        listed: list[Node] = [
            ("account", self._shown(account, ("id", *asked)), "")
            for account in found[offset : offset + limit]
        ]
        return [("accounts", listed, "array")]

    def _count(self, form: Form) -> Sequence[Node]:
        accounts = list(self._accounts.all())
        kinds = {"userAccount": len(accounts), "alias": sum(len(each.aliases) for each in accounts)}
        return [("count", str(kinds.get(_required(form, "type"), 0)), "integer")]

    def _shown(self, account: MailAccount, names: Iterable[str]) -> Sequence[Node]:
        nodes: list[Node] = [("name", account.name, "")]
        quota = account.attributes.get("zimbraMailQuota", "0")
        own: dict[str, Node] = {
            "id": ("id", account.id, ""),
            "used": ("used", "0", "integer"),
            "quota": ("quota", quota, "integer"),
            "admin": ("admin", "FALSE", ""),
            "cos_name": ("cos_name", "default", ""),
        }
        if account.aliases:
            aliases = [("zimbraMailAlias", alias, "") for alias in account.aliases]
            own["zimbraMailAlias"] = ("zimbraMailAlias", aliases, "array")
        for name in dict.fromkeys(names):
            if name in own:
                nodes.append(own[name])
            elif name == "zimbraAccountStatus":
                nodes.append((name, self._status(account), ""))
            elif name in account.attributes and name != "userPassword":
                nodes.append((name, account.attributes[name], ""))
        return nodes

    def _status(self, account: MailAccount) -> str:
        moved = {each.lower() for each in self._state.conditions.maintenance}
        if account.name in moved:
            return "maintenance"
        return account.attributes.get("zimbraAccountStatus", "active")

    @staticmethod
    def _sort(found: list[MailAccount], by: str, ascending: str) -> None:
        """Sort accounts; without `sortby` in the directory's order, another one each time."""
        if not by:
            random.shuffle(found)
            return
        if by not in _SORTABLE:
            raise Refusal(f"invalid sortby: {by}")
        found.sort(key=lambda one: (*one.values(by)[:1], one.name), reverse=ascending == "FALSE")

    # --- writing ------------------------------------------------------------------------------------

    def _create(self, form: Form) -> Sequence[Node]:
        name = self._address(_required(form, "name"))
        _required(form, "sn")
        if "password" not in form or not (form["password"] or _HASH.fullmatch(form.get("userPassword", ""))):
            raise Refusal("paramètre manquant : password")
        given = {each: value for each, value in form.items() if each not in ("name", "password")}
        self._accounts.create(name, {"zimbraAccountStatus": "active", **self._checked(given)})
        return []

    def _modify(self, form: Form) -> Sequence[Node]:
        account = self._writable(form)
        given = {each: value for each, value in form.items() if each != "name"}
        self._accounts.modify(account, self._checked(given))
        return []

    def _set_password(self, form: Form) -> Sequence[Node]:
        self._accounts.modify(self._writable(form), {"userPassword": "{SET}" + _required(form, "password")})
        return []

    def _rename(self, form: Form) -> Sequence[Node]:
        self._accounts.rename(self._writable(form), self._address(_required(form, "newname")))
        return []

    def _delete(self, form: Form) -> Sequence[Node]:
        self._accounts.delete(self._writable(form))
        return []

    def _add_alias(self, form: Form) -> Sequence[Node]:
        self._accounts.add_alias(self._writable(form), self._address(_required(form, "alias")))
        return []

    def _remove_alias(self, form: Form) -> Sequence[Node]:
        account, alias = self._writable(form), _required(form, "alias").lower()
        if alias not in account.aliases:
            raise Refusal(f"no such alias: {alias}")
        self._accounts.remove_alias(account, alias)
        return []

    def _writable(self, form: Form) -> MailAccount:
        account = self._named(_required(form, "name"))
        if self._status(account) == "maintenance":
            raise Refusal("mailbox in maintenance mode")
        return account

    def _named(self, name: str) -> MailAccount:
        account = self._accounts.find(self._address(name))
        if account is None:
            raise Refusal(f"no such account: {name}")
        return account

    def _address(self, text: str) -> str:
        if not _ADDRESS.fullmatch(text):
            raise Refusal(f"invalid address: {text}")
        if text.partition("@")[2].lower() != self._domain:
            raise Refusal(f"{text} ne fait pas partie des domaines administrés")
        return text

    def _checked(self, given: Form) -> dict[str, str]:
        for name, value in given.items():
            if name not in ATTRIBUTES:
                raise Refusal(f"attribut inconnu : {name}")
            if name == "zimbraAccountStatus" and value not in _STATUSES:
                raise Refusal(f"invalid attr value: {name} {value}")
            if name == "zimbraHideInGal" and value not in ("TRUE", "FALSE"):
                raise Refusal(f"invalid attr value: {name} {value}")
            if name == "zimbraMailQuota" and value and not value.isdecimal():
                raise Refusal(f"invalid attr value: {name} {value}")
        return dict(given)


def _required(form: Form, name: str) -> str:
    if not form.get(name):
        raise Refusal(f"paramètre manquant : {name}")
    return form[name]


def _number(form: Form, name: str, default: int) -> int:
    text = form.get(name) or str(default)
    if not text.isdecimal():
        raise Refusal(f"invalid {name}: {text}")
    return int(text)
