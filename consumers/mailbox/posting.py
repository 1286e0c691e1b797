"""Send the welcome message at most once, whatever crashes.

The intent is recorded before the message is sent, with the inbox's UIDVALIDITY and UIDNEXT (RFC 9051, section
2.3.1.1) at that moment. If the message of a recorded intent is not in the mailbox, it was either never
delivered, or deleted since. It was provably never delivered if the inbox is still the same and every message
since then is still there, none of them ours, and no script of the student's own may have put it elsewhere.
Otherwise it cannot be decided, and it is not sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from consumers.kit.deadline import Deadline
from consumers.mailbox.commands import Key, Observed
from consumers.mailbox.mailbox import Mailbox, WelcomeStanding
from consumers.mailbox.welcome import Welcome
from pipeline.letters import AddressUnusable
from schemas.account import Account

if TYPE_CHECKING:
    from consumers.mailbox.welcome_journal import RecordedIntent, WelcomeMessages

FIRST_UID: Final = 1
"""UIDNEXT of an inbox that never had a message."""

NOT_SENT_AGAIN: Final = "welcome message: unknown whether it arrived; not sent again"

INTENDED, SENT, UNDECIDED = "intended", "sent", "undecided"
"""States of an intent: see `welcome_journal.RecordedIntent`."""


class Posting:
    """Decide who gets the message, and keep the journal.

    Args:
        read: reads mailboxes, by address.
        journal: records intents.
        welcome: renders the message.
        records: write the mailboxes' findings to the journal.
    """

    def __init__(
        self,
        read: Callable[[Sequence[Key], Deadline], Mapping[str, Observed]],
        journal: WelcomeMessages,
        welcome: Welcome,
        *,
        records: bool = True,
    ) -> None:
        self._read = read
        self._journal = journal
        self._welcome = welcome
        self._records = records
        self._unseen: dict[str, int] = {}
        """UIDNEXT of the inbox before sending, by student whose message is yet to appear."""

    def message_id(self, account: Account) -> str:
        """The Message-ID of the student's welcome message."""
        return self._welcome.message_id(account.student_number)

    def can_be_written(self, account: Account) -> bool:
        """True if the student's address can be written into a message."""
        return not isinstance(self._write(account), AddressUnusable)

    def look(
        self, accounts: Sequence[Account], deadline: Deadline, *, least: bool = False
    ) -> dict[str, Observed]:
        """Read these students' mailboxes and the state of the message, by number.

        Args:
            least: without a recorded intent, read only the inbox at first. If it never had a message, it has
                none of ours; and what is to be made, can be made whatever else there is, but a redirection,
                which must replace no script of the student's own.

        Raises:
            OutOfTime: a second request was needed, and no time was left for it.
            TargetDown, Misconfigured: as the read.
        """
        known = self._journal.known([account.student_number for account in accounts])
        strangers = [a.mail for a in accounts if least and a.student_number not in known]
        inboxes = (
            self._read([Key(mail, inbox_only=True) for mail in strangers], deadline) if strangers else {}
        )
        new = {mail: one for mail, one in inboxes.items() if not _was_used(one)}
        seen = {a.mail: new[a.mail] for a in accounts if a.mail in new and a.mail_redirect is None}
        keys = [
            self._key(a, known.get(a.student_number), new=a.mail in new)
            for a in accounts
            if a.mail not in seen
        ]
        if keys:
            seen |= self._read(keys, deadline)
        found: dict[str, Observed] = {}
        for account in accounts:
            number, one = account.student_number, seen[account.mail]
            if isinstance(one, Mailbox):
                one = replace(one, standing=self._standing(number, known.get(number), one))
            found[number] = one
        if self._records:
            self._record({number: one for number, one in found.items() if isinstance(one, Mailbox)})
        return found

    def decide(self, students: Sequence[tuple[Account, Mailbox]]) -> dict[str, bytes | AddressUnusable]:
        """The messages to be sent now, by student number, or why one cannot be.

        Each one's intent is recorded first; if another one was recorded since the mailbox was read, another
        worker sends it.
        """
        due = [(account, box) for account, box in students if box.standing.due]
        known = self._intend({account.student_number: box for account, box in due})
        return {
            account.student_number: self._write(account)
            for account, box in due
            if box.standing.intent == (intent := known.get(account.student_number))
            and (intent is None or intent.state == INTENDED)
        }

    def sent(self, students: Mapping[str, Mailbox]) -> None:
        """Record that the mail server took charge of these messages. Their mailboxes are to show them."""
        self._journal.sent(list(students))
        self._unseen |= {number: seen.uidnext for number, seen in students.items()}

    def _write(self, account: Account) -> bytes | AddressUnusable:
        try:
            return self._welcome.render(account)
        except AddressUnusable as error:
            return error

    def _intend(self, students: Mapping[str, Mailbox]) -> Mapping[str, RecordedIntent]:
        """Record these intents; return the earlier ones."""
        intended = {
            number: (self._welcome.message_id(number), seen.uidvalidity, seen.uidnext)
            for number, seen in students.items()
        }
        return self._journal.intend(intended) if intended else {}

    def _key(self, account: Account, intent: RecordedIntent | None, *, new: bool) -> Key:
        uidnext = self._unseen.get(account.student_number)
        if uidnext is not None:
            return Key(account.mail, self.message_id(account), uidnext, delivered=True)
        if intent is not None and intent.state == INTENDED:
            return Key(account.mail, self.message_id(account), intent.uidnext)
        if intent is None and not new:  # it may have a message of ours
            return Key(account.mail, self.message_id(account))
        return Key(account.mail)

    def _standing(self, number: str, intent: RecordedIntent | None, seen: Mailbox) -> WelcomeStanding:
        if self._unseen.pop(number, None) is not None:
            return WelcomeStanding(due=not seen.copies, intent=intent)
        if intent is not None and intent.state != INTENDED:
            return WelcomeStanding(note=NOT_SENT_AGAIN if intent.state == UNDECIDED else "", intent=intent)
        if intent is None and not _was_used(seen):
            return WelcomeStanding(due=True)
        return self._judge(intent, seen)

    def _judge(self, intent: RecordedIntent | None, seen: Mailbox) -> WelcomeStanding:
        """The state of a message that may have arrived, by traces of it."""
        if seen.copies:
            return WelcomeStanding(intent=intent, learned=SENT)
        if intent is None or never_delivered(intent, seen):
            return WelcomeStanding(due=True, intent=intent)
        return WelcomeStanding(note=NOT_SENT_AGAIN, intent=intent, learned=UNDECIDED)

    def _record(self, found: Mapping[str, Mailbox]) -> None:
        learned = {number: one for number, one in found.items() if one.standing.learned}
        self._intend({number: one for number, one in learned.items() if one.standing.intent is None})
        for state, settle in ((SENT, self._journal.sent), (UNDECIDED, self._journal.undecided)):
            if numbers := [number for number, one in learned.items() if one.standing.learned == state]:
                settle(numbers)


def _was_used(seen: Observed) -> bool:
    return isinstance(seen, Mailbox) and seen.uidnext != FIRST_UID


def never_delivered(earlier: RecordedIntent, seen: Mailbox) -> bool:
    """True if a missing message provably never came since the earlier intent."""
    if seen.copies is None or seen.own_script_active or seen.uidvalidity != earlier.uidvalidity:
        return False
    return set(range(earlier.uidnext, seen.uidnext)) <= set(seen.uids)
