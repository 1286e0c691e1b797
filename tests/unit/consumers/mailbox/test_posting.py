"""When a welcome message that was intended once may be sent again: only if it provably never came."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.mailbox.mailbox import Mailbox
from consumers.mailbox.posting import never_delivered
from consumers.mailbox.welcome_journal import RecordedIntent

EARLIER = RecordedIntent("<1@x>", 7, 4, "intended")
INBOX = Mailbox(
    ref="zoe.lefevre@univ-exemple.fr",
    folders=frozenset({"INBOX"}),
    subscribed=frozenset({"INBOX"}),
    quota_kib=None,
    used_kib=0,
    messages=2,
    scripts=frozenset(),
    active_script=None,
    uidvalidity=7,
    uidnext=6,
    copies=0,
    uids=(4, 5),
)


def test_all_that_came_since_is_still_there_so_it_never_came() -> None:
    assert never_delivered(EARLIER, INBOX)
    assert never_delivered(replace(EARLIER, uidnext=6), replace(INBOX, uids=()))


def test_a_message_that_arrives_while_we_look_changes_nothing() -> None:
    assert never_delivered(EARLIER, replace(INBOX, uids=(4, 5, 6)))


@pytest.mark.parametrize(
    "doubt",
    [
        replace(INBOX, uids=(5,)),  # one that came since is gone
        replace(INBOX, uids=()),
        replace(INBOX, uidvalidity=8),  # another inbox: its UIDs say nothing about the earlier one
        replace(INBOX, active_script="tri"),  # the script may have put it anywhere
        replace(INBOX, copies=None),  # nobody looked
    ],
)
def test_in_doubt_it_is_not_sent_again(doubt: Mailbox) -> None:
    assert not never_delivered(EARLIER, doubt)


@given(
    delivered=st.booleans(),
    arrivals=st.lists(st.booleans(), max_size=8),
    position=st.integers(0, 8),
    deleted=st.sets(st.integers(0, 9)),
)
def test_whatever_was_deleted_a_message_that_came_is_never_sent_twice(
    *, delivered: bool, arrivals: list[bool], position: int, deleted: set[int]
) -> None:
    """A small model of an inbox: messages get increasing UIDs, some are deleted, ours may be among them."""
    inbox = ["other" for _ in arrivals]
    if delivered:
        inbox.insert(min(position, len(inbox)), "ours")
    uids = {4 + n: kind for n, kind in enumerate(inbox)}
    left = {uid: kind for n, (uid, kind) in enumerate(uids.items()) if n not in deleted}
    copies = list(left.values()).count("ours")
    seen = replace(INBOX, uidnext=4 + len(inbox), copies=copies, uids=tuple(sorted(left)))
    sent_again = copies == 0 and never_delivered(EARLIER, seen)
    assert not (delivered and sent_again)
    if not delivered and not (deleted & set(range(len(inbox)))):
        assert sent_again
