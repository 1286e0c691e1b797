"""The mailboxes of a Dovecot, over doveadm and LMTP. Several mailboxes share one request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from consumers.kit.connector import SLOW, TOO_SLOW
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.mailbox.commands import (
    access_looks,
    commands_for,
    completed,
    erasure_commands,
    erasure_looks,
    failure,
    folder_commands,
    observed,
    script_commands,
    second_looks,
    undelivered,
    unread,
    with_access,
    with_delivery,
)
from consumers.mailbox.dovecot import Command, CommandUnknown, Doveadm, DoveadmAnswer, Exit
from consumers.mailbox.lmtp import Delivery, Lmtp
from consumers.mailbox.port import (
    ApplyResult,
    Key,
    MailboxChange,
    MailboxUnsettled,
    ReadResult,
    WrittenMailbox,
)
from pipeline.errors import Misconfigured, TargetDown, WriteForbidden

_DIRECTORY_AWAY: Final = "Dovecot cannot look users up: its directory is away"
_LATE: Final = MailboxUnsettled(SLOW, TOO_SLOW)


class DovecotMailboxes:
    """See `port.Mailboxes`.

    Args:
        doveadm: administration; closed with this.
        lmtp: delivery; closed with this.
        probe_user: the service account that the probe looks up, which is no student's.
        timeout_s: the longest time for a delivery, a listing or a probe.
        monotonic: seconds, for these.
    """

    def __init__(
        self,
        doveadm: Doveadm,
        lmtp: Lmtp,
        *,
        probe_user: str,
        timeout_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._doveadm = doveadm
        self._lmtp = lmtp
        self._probe_user = probe_user
        self._timeout_s = timeout_s
        self._monotonic = monotonic

    def apply(self, batch: Sequence[MailboxChange], deadline: Deadline) -> Mapping[str, ApplyResult]:
        """Write all folders in one request, the messages one by one, then all scripts.

        The scripts take one request too.
        """
        results: dict[str, ApplyResult] = {change.address: WrittenMailbox() for change in batch}
        self._write({c.address: folder_commands(c) for c in batch}, results, deadline)
        delivered = self._deliver([c for c in batch if _going_on(results, c)], results, deadline)
        scripts = {c.address: script_commands(c) for c in batch if _going_on(results, c)}
        try:
            self._write(scripts, results, deadline)
        except OutOfTime:  # what was delivered is
            results |= {address: _LATE for address, several in scripts.items() if several}
        return {
            address: with_delivery(result, delivered=address in delivered)
            for address, result in results.items()
        }

    def close(self, addresses: Sequence[str], deadline: Deadline) -> None:
        """End the open sessions of these users; having none is success."""
        literal = [
            address for address in addresses if not set(address) & set("*?")
        ]  # the command takes masks
        self._doveadm.call([Command("kick", {"mask": [address]}) for address in literal], deadline)

    def read(self, keys: Sequence[Key], deadline: Deadline) -> Mapping[str, ReadResult]:
        """Read all of them in one request, and in a second one what is then left to read."""
        commands = [commands_for(key) for key in keys]
        each = iter(self._look(commands, deadline))
        results = {
            key.address: observed(key, list(islice(each, len(several))))
            for key, several in zip(keys, commands, strict=True)
        }
        looks = [(key.address, look) for key in keys for look in second_looks(key, results[key.address])]
        seconds = self._doveadm.call([look for _, look in looks], deadline)
        for (address, look), answer in zip(looks, seconds, strict=True):
            results[address] = completed(results[address], look, answer)
        return self._with_access(results, deadline) if self._doveadm.read_only else results

    def _with_access(self, results: Mapping[str, ReadResult], deadline: Deadline) -> Mapping[str, ReadResult]:
        """Add what access lists give to others: expensive, so not read in turns."""
        looks = {address: access_looks(address, result) for address, result in results.items()}
        try:
            answers = iter(
                self._doveadm.call([look for several in looks.values() for look in several], deadline)
            )
        except CommandUnknown:
            return results  # without Dovecot's acl plugin there are no lists
        return {
            address: with_access(result, list(islice(answers, len(looks[address]))))
            for address, result in results.items()
        }

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

    def erase(self, addresses: Sequence[str], deadline: Deadline) -> Mapping[str, ApplyResult]:
        """Read what is there in one request, and remove it in another.

        A user whom the server does not know has nothing.
        """
        results: dict[str, ApplyResult] = dict.fromkeys(addresses, WrittenMailbox())
        looks = [erasure_looks(address) for address in addresses]
        answers = iter(self._look(looks, deadline))
        emptying: dict[str, list[Command]] = {}
        for address, several in zip(addresses, looks, strict=True):
            mine = list(islice(answers, len(several)))
            codes = {answer.code for answer in mine} - {Exit.OK}
            if not codes:
                emptying[address] = erasure_commands(address, mine)
            elif codes != {Exit.NO_USER}:
                results[address] = unread(max(codes))
        self._write(emptying, results, deadline)
        return results

    def probe(self) -> None:
        """Look up the service account, through doveadm and the directory behind it."""
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

    def _look(self, commands: Iterable[list[Command]], deadline: Deadline) -> list[DoveadmAnswer]:
        answers = self._doveadm.call([c for several in commands for c in several], deadline)
        if answers and all(answer.code == Exit.TEMPORARY for answer in answers):
            raise TargetDown(_DIRECTORY_AWAY, unknown=False)
        return answers

    def _write(
        self, commands: Mapping[str, list[Command]], results: dict[str, ApplyResult], deadline: Deadline
    ) -> None:
        """Send the commands of all together; a mailbox's first failure is its result."""
        written = self._doveadm.call(
            [c for several in commands.values() for c in several], deadline, writes=True
        )
        if written and all(answer.code == Exit.TEMPORARY for answer in written):
            raise TargetDown(_DIRECTORY_AWAY)
        answers = iter(written)
        for address, several in commands.items():
            failures = [failure(c, a) for c, a in zip(several, islice(answers, len(several)), strict=True)]
            results[address] = next((f for f in failures if f is not None), results[address])

    def _deliver(
        self, batch: Iterable[MailboxChange], results: dict[str, ApplyResult], deadline: Deadline
    ) -> set[str]:
        """Deliver the messages one by one over kept connections; return who got theirs."""
        delivered = set()
        for change in batch:
            if change.welcome is None:
                continue
            if self._doveadm.read_only:
                raise WriteForbidden
            try:
                deadline.left_s()
                verdict = self._lmtp.deliver(change.address, change.welcome, self._deadline())
            except OutOfTime:
                results[change.address] = _LATE
                continue
            if verdict.delivery is Delivery.DELIVERED:
                delivered.add(change.address)
            else:
                results[change.address] = undelivered(verdict)
        return delivered


def _going_on(results: Mapping[str, ApplyResult], change: MailboxChange) -> bool:
    return isinstance(results[change.address], WrittenMailbox)
