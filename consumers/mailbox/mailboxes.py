"""The mailboxes of a Dovecot: the five verbs, over doveadm and LMTP. Several mailboxes share one request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from consumers.mailbox.commands import (
    commands_for,
    completed,
    failure,
    folder_commands,
    observed,
    script_commands,
    second_look,
    undelivered,
    with_delivery,
)
from consumers.mailbox.dovecot import Command, Doveadm, Exit
from consumers.mailbox.lmtp import Delivery, Lmtp
from consumers.mailbox.port import (
    ApplyResult,
    Key,
    MailboxChange,
    MailboxUnsettled,
    ObservedMailbox,
    ReadResult,
    WrittenMailbox,
)
from consumers.mailbox.transport import CallDeadline
from pipeline.errors import Misconfigured, TargetDown, WriteForbidden

_PAGE: Final = 50
_DIRECTORY_AWAY: Final = "Dovecot cannot look users up: its directory is away"


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

    def apply(self, batch: Sequence[MailboxChange]) -> Mapping[str, ApplyResult]:
        """Folders of all in one request, then the messages one by one, then the scripts in one request."""
        deadline = CallDeadline.after(self._timeout_s, self._monotonic)
        results: dict[str, ApplyResult] = {change.address: WrittenMailbox() for change in batch}
        self._write(batch, folder_commands, results, deadline)
        delivered = self._deliver([c for c in batch if _going_on(results, c)], results, deadline)
        self._write([c for c in batch if _going_on(results, c)], script_commands, results, deadline)
        return {
            address: with_delivery(result, delivered=address in delivered)
            for address, result in results.items()
        }

    def close(self, addresses: Sequence[str]) -> None:
        """End the open sessions of these users; having none is success."""
        literal = [
            address for address in addresses if not set(address) & set("*?")
        ]  # the command takes masks
        self._doveadm.call([Command("kick", {"mask": [address]}) for address in literal], self._deadline())

    def read(self, keys: Sequence[Key]) -> Mapping[str, ReadResult]:
        """Everything about all of them in one request; a second one for what that leaves to be asked."""
        deadline = self._deadline()
        commands = [commands_for(key) for key in keys]
        answers = self._doveadm.call([c for several in commands for c in several], deadline)
        if answers and all(answer.code == Exit.TEMPORARY for answer in answers):
            raise TargetDown(_DIRECTORY_AWAY, unknown=False)
        each = iter(answers)
        results = {
            key.address: observed(key, list(islice(each, len(several))))
            for key, several in zip(keys, commands, strict=True)
        }
        looks = {key.address: look for key in keys if (look := second_look(key, results[key.address]))}
        seconds = self._doveadm.call(list(looks.values()), deadline)
        return results | {
            address: completed(results[address], look, answer)
            for (address, look), answer in zip(looks.items(), seconds, strict=True)
        }

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

    def _deadline(self) -> CallDeadline:
        return CallDeadline.after(self._timeout_s, self._monotonic)

    def _write(
        self,
        batch: Iterable[MailboxChange],
        commands_of: Callable[[MailboxChange], list[Command]],
        results: dict[str, ApplyResult],
        deadline: CallDeadline,
    ) -> None:
        """Send all changes' commands together; a change's first failure is its result."""
        each = [(change.address, commands_of(change)) for change in batch]
        written = self._doveadm.call([c for _, several in each for c in several], deadline, writes=True)
        if written and all(answer.code == Exit.TEMPORARY for answer in written):
            raise TargetDown(_DIRECTORY_AWAY)
        answers = iter(written)
        for address, several in each:
            failures = [failure(c, a) for c, a in zip(several, islice(answers, len(several)), strict=True)]
            results[address] = next((f for f in failures if f is not None), results[address])

    def _deliver(
        self, batch: Iterable[MailboxChange], results: dict[str, ApplyResult], deadline: CallDeadline
    ) -> set[str]:
        """Deliver the messages one after the other over kept connections; return who got theirs."""
        delivered = set()
        for change in batch:
            if change.welcome is None:
                continue
            if self._doveadm.read_only:
                raise WriteForbidden
            if deadline.over:
                results[change.address] = MailboxUnsettled(
                    "mailbox_slow", "the call's time was used up before"
                )
                continue
            verdict = self._lmtp.deliver(change.address, change.welcome, deadline)
            if verdict.delivery is Delivery.DELIVERED:
                delivered.add(change.address)
            else:
                results[change.address] = undelivered(verdict)
        return delivered


def _going_on(results: Mapping[str, ApplyResult], change: MailboxChange) -> bool:
    return isinstance(results[change.address], WrittenMailbox)
