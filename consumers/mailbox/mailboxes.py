"""The mailboxes of a Dovecot: the five verbs, over doveadm and LMTP. Several mailboxes share one request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from consumers.mailbox.deadline import Deadline
from consumers.mailbox.dovecot import Answer, Command, Doveadm, Exit
from consumers.mailbox.lmtp import Delivery, Lmtp
from consumers.mailbox.port import (
    ApplyResult,
    Change,
    Full,
    Key,
    ObservedMailbox,
    ReadResult,
    Refused,
    Sighting,
    Unknown,
    Unsettled,
    Written,
)
from pipeline.errors import Misconfigured, TargetDown, WriteForbidden

SCRIPT: Final = "sesame"
"""The project's own name among a student's sieve scripts. No other script is ever touched."""

_PAGE: Final = 50
_MAILBOX_BUSY: Final = "mailbox_busy"
_DIRECTORY_AWAY: Final = "Dovecot cannot look users up: its directory is away"
_UNREAD: Final = ""  # a script that is there, before its text was asked for


class DovecotMailboxes:
    """See `port.Mailboxes`.

    Args:
        doveadm: administration; closed with this.
        lmtp: delivery; closed with this.
        probe_user: the service account that the probe looks up; nobody's.
        timeout_s: the longest wait for the answers of one verb: well above the 6 s that Dovecot 2.4 takes to
            say that its directory is away (2.3 says so after minutes only).
        monotonic: seconds, for the time-outs.
    """

    def __init__(
        self,
        doveadm: Doveadm,
        lmtp: Lmtp,
        *,
        probe_user: str,
        timeout_s: float = 20.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._doveadm = doveadm
        self._lmtp = lmtp
        self._probe_user = probe_user
        self._timeout_s = timeout_s
        # A request begun at the last moment may wait, piece by piece, as long again as was left.
        self.verb_s_max = 2 * timeout_s
        self._monotonic = monotonic

    def apply(self, batch: Sequence[Change]) -> Mapping[str, ApplyResult]:
        """Folders of all in one request, then the messages one by one, then the scripts in one request."""
        deadline = Deadline.after(self._timeout_s, self._monotonic)
        results: dict[str, ApplyResult] = {change.address: Written() for change in batch}
        self._write(batch, _folder_commands, results, deadline)
        delivered = self._deliver([c for c in batch if _going_on(results, c)], results, deadline)
        self._write([c for c in batch if _going_on(results, c)], _script_commands, results, deadline)
        return {
            address: result if isinstance(result, Written) else _with_delivery(result, address in delivered)
            for address, result in results.items()
        }

    def close(self, addresses: Sequence[str]) -> None:
        """End the open sessions of these users; having none is success."""
        literal = [
            address for address in addresses if not set(address) & set("*?")
        ]  # the command takes masks
        self._doveadm.call([Command("kick", {"mask": [address]}) for address in literal], self._deadline())

    def read(self, keys: Sequence[Key]) -> Mapping[str, ReadResult]:
        """Everything about all of them in one request; a second one for the scripts that are there."""
        deadline = self._deadline()
        commands = [_read_commands(key) for key in keys]
        answers = iter(self._doveadm.call([c for several in commands for c in several], deadline))
        answered = [list(islice(answers, len(several))) for several in commands]
        if answered and all(part[0].code == Exit.TEMPORARY for part in answered):
            raise TargetDown(_DIRECTORY_AWAY, unknown=False)
        results = {key.address: _observed(key, part) for key, part in zip(keys, answered, strict=True)}
        return self._with_scripts(results, deadline)

    def dump(self) -> Iterator[ObservedMailbox]:
        """Every enabled user of the directory, a page of mailboxes at a time."""
        users = self.addresses()
        while page := [Key(user) for user in islice(users, _PAGE)]:
            yield from (r for r in self.read(page).values() if isinstance(r, ObservedMailbox))

    def addresses(self) -> Iterator[str]:
        """Every enabled user of the directory, in one answer."""
        listing = self._doveadm.call([Command("user", {"userMask": ["*"]})], self._deadline())[0]
        if listing.code == Exit.DATA:
            raise Misconfigured(
                "Dovecot cannot list its users",
                remedy="Lift the directory's size limit for Dovecot's account (ops/ldap/slapd.conf).",
            )
        if listing.code not in (Exit.OK, Exit.NO_USER):
            raise TargetDown(_DIRECTORY_AWAY, unknown=False)
        users = listing.rows["userList"] if listing.code == Exit.OK else ()
        yield from (user for user in users if user != self._probe_user)

    def probe(self) -> None:
        """Look up the service account: through doveadm, and through the directory behind it."""
        command = Command("user", {"userMask": [self._probe_user]})
        answer = self._doveadm.call([command], self._deadline())[0]
        if answer.code == Exit.NO_USER:
            raise Misconfigured(
                "Dovecot does not know the service account that the probe looks up",
                remedy="Enable the mailbox of mailbox.probe_user in the directory (ops/ldap/tree.ldif).",
            )
        if answer.code != Exit.OK:
            raise TargetDown(_DIRECTORY_AWAY, unknown=False)

    def disconnect(self) -> None:
        """Give the connections back."""
        self._doveadm.close()
        self._lmtp.close()

    def _deadline(self) -> Deadline:
        return Deadline.after(self._timeout_s, self._monotonic)

    def _write(
        self,
        batch: Iterable[Change],
        commands_of: Callable[[Change], list[Command]],
        results: dict[str, ApplyResult],
        deadline: Deadline,
    ) -> None:
        """Send all changes' commands together; a change's first failure is its result."""
        each = [(change.address, commands_of(change)) for change in batch]
        written = self._doveadm.call([c for _, several in each for c in several], deadline, writes=True)
        if written and all(answer.code == Exit.TEMPORARY for answer in written):
            raise TargetDown(_DIRECTORY_AWAY)
        answers = iter(written)
        for address, several in each:
            failures = [_failure(c, a) for c, a in zip(several, islice(answers, len(several)), strict=True)]
            results[address] = next((f for f in failures if f is not None), results[address])

    def _deliver(
        self, batch: Iterable[Change], results: dict[str, ApplyResult], deadline: Deadline
    ) -> set[str]:
        """Deliver the messages one after the other over kept connections; return who got theirs."""
        delivered = set()
        for change in batch:
            if change.welcome is None:
                continue
            if self._doveadm.read_only:
                raise WriteForbidden
            if deadline.over:
                results[change.address] = Unsettled("mailbox_slow", "the call's time was used up before")
                continue
            verdict = self._lmtp.deliver(change.address, change.welcome, deadline)
            if verdict.delivery is Delivery.DELIVERED:
                delivered.add(change.address)
            else:
                results[change.address] = _undelivered(verdict.delivery, verdict.codes)
        return delivered

    def _with_scripts(self, results: dict[str, ReadResult], deadline: Deadline) -> dict[str, ReadResult]:
        """Read the text of the scripts that are there; asking for one that is not is an error in the log."""
        present = [
            r.address
            for r in results.values()
            if isinstance(r, ObservedMailbox) and r.redirect_script == _UNREAD
        ]
        answers = self._doveadm.call(
            [Command("sieveGet", {"user": address, "scriptname": SCRIPT}) for address in present], deadline
        )
        return results | {
            address: _with_script(results[address], answer)
            for address, answer in zip(present, answers, strict=True)
        }


def _read_commands(key: Key) -> list[Command]:
    user = {"user": key.address}
    commands = [
        Command("user", {"userMask": [key.address]}),
        Command("mailboxList", user),
        Command("mailboxList", {**user, "subscriptions": True}),
        Command("quotaGet", user),
        Command("mailboxStatus", {**user, "field": ["uidvalidity", "uidnext"], "mailboxMask": ["INBOX"]}),
        Command("sieveList", user),
    ]
    if key.message_id is not None:
        everywhere = ["mailbox", "*", "HEADER", "Message-ID", key.message_id]
        since = ["mailbox", "INBOX", "uid", f"{key.since_uid}:*"]
        commands += [
            Command("fetch", {**user, "field": ["mailbox", "uid"], "query": everywhere}),
            Command("fetch", {**user, "field": ["uid"], "query": since}),
        ]
    return commands


def _observed(key: Key, answers: Sequence[Answer]) -> ReadResult:
    codes = {answer.code for answer in answers}
    if Exit.NO_USER in codes:
        return Unknown()
    if codes != {Exit.OK}:
        return Unsettled(_MAILBOX_BUSY, f"the mailbox could not be read now (doveadm: {max(codes)})")
    _, folders, subscribed, quota, status, scripts, *found = (answer.rows for answer in answers)
    names = {row["script"]: bool(row["active"]) for row in scripts}
    return ObservedMailbox(
        address=key.address,
        folders=frozenset(row["mailbox"] for row in folders),
        subscribed=frozenset(row["mailbox"] for row in subscribed),
        quota_kib=_storage_limit(quota),
        uidvalidity=int(status[0]["uidvalidity"]),
        uidnext=int(status[0]["uidnext"]),
        redirect_script=_UNREAD if SCRIPT in names else None,
        redirect_active=names.get(SCRIPT, False),
        own_script_active=any(active for name, active in names.items() if name != SCRIPT),
        sighting=_sighting(key, *found) if found else None,
        used_kib=max((int(root["value"]) for root in quota if root["type"] == "STORAGE"), default=0),
    )


def _sighting(key: Key, copies: Sequence[Any], since: Sequence[Any]) -> Sighting:
    """`N:*` always names the last message, even below N (RFC 9051, section 9: seq-range)."""
    uids = sorted(uid for row in since if (uid := int(row["uid"])) >= key.since_uid)
    return Sighting(copies=len(copies), uids=tuple(uids))


def _storage_limit(roots: Sequence[Mapping[str, str]]) -> int | None:
    """The smallest limit among the storage roots; `-` is none."""
    limits = [int(r["limit"]) for r in roots if r["type"] == "STORAGE" and r["limit"] != "-"]
    return min(limits, default=None)


def _with_script(result: ReadResult, answer: Answer) -> ReadResult:
    if not isinstance(result, ObservedMailbox):
        return result
    if answer.code not in (Exit.OK, Exit.NOT_FOUND):
        return Unsettled(_MAILBOX_BUSY, f"the sieve script could not be read now (doveadm: {answer.code})")
    text = answer.rows[0]["sieve script"] if answer.code == Exit.OK else None
    return replace(result, redirect_script=text)


def _folder_commands(change: Change) -> list[Command]:
    """One command per folder: with several in one, a folder that exists hides what became of the others."""
    user = change.address
    return [
        Command("mailboxCreate", {"user": user, "mailbox": [folder], "subscriptions": True})
        for folder in change.create
    ] + [Command("mailboxSubscribe", {"user": user, "mailbox": [folder]}) for folder in change.subscribe]


def _script_commands(change: Change) -> list[Command]:
    user = change.address
    commands = []
    if change.install is not None:
        put = {"user": user, "scriptname": SCRIPT, "file": change.install, "activate": True}
        commands.append(Command("sievePut", put))
    if change.remove and change.deactivate:
        commands.append(Command("sieveDeactivate", {"user": user}))
    if change.remove:
        commands.append(Command("sieveDelete", {"user": user, "scriptname": [SCRIPT]}))
    return commands


def _failure(command: Command, answer: Answer) -> ApplyResult | None:
    """What an exit code means for the student whose command it was."""
    match answer.code:
        case Exit.OK:
            return None
        case Exit.DATA if command.name == "mailboxCreate":
            return None  # it exists; the read-back confirms it
        case Exit.NOT_FOUND if command.name == "sieveDelete":
            return None  # it is gone; the read-back confirms it
        case Exit.FULL:
            return Full()
        case Exit.NO_USER:
            return Unsettled("mailbox_not_enabled", "the mail server does not know this user any more")
        case Exit.USAGE:
            return Refused("folder_name_refused", "Dovecot cannot use a folder's name: see mailbox.folders")
        case Exit.DATA:
            return Refused("redirect_refused", "Dovecot does not accept the sieve script of the redirection")
    return Unsettled(_MAILBOX_BUSY, f"{command.name} did not succeed (doveadm: {answer.code})")


def _undelivered(delivery: Delivery, codes: str) -> ApplyResult:
    match delivery:
        case Delivery.FULL:
            return Full()
        case Delivery.NO_USER:
            return Unsettled("mailbox_not_enabled", "the mail server does not know this user any more")
        case Delivery.REFUSED:
            return Refused("welcome_refused", f"the mail server refuses the welcome message (LMTP {codes})")
        case Delivery.UNKNOWN:
            return Unsettled("delivery_unknown", f"the delivery's outcome is unknown ({codes})", unknown=True)
    return Unsettled("delivery_deferred", f"the mail server defers the welcome message (LMTP {codes})")


def _going_on(results: Mapping[str, ApplyResult], change: Change) -> bool:
    return isinstance(results[change.address], Written)


def _with_delivery(result: ApplyResult, delivered: bool) -> ApplyResult:  # noqa: FBT001
    match result:
        case Full():
            return Full(delivered)
        case Refused(cause, message):
            return Refused(cause, message, delivered)
        case Unsettled(cause, message, _, unknown):
            return Unsettled(cause, message, delivered, unknown)
    return result
