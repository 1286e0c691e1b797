"""When a welcome message that was intended once may be sent again: only if it provably never came."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.mailbox.port import ObservedMailbox, Sighting
from consumers.mailbox.welcome import never_delivered


@dataclass(frozen=True)
class Earlier:
    uidvalidity: int = 7
    uidnext: int = 4
    state: str = "intended"


INBOX = ObservedMailbox(
    address="zoe.lefevre@univ-exemple.fr",
    folders=frozenset({"INBOX"}),
    subscribed=frozenset({"INBOX"}),
    quota_kib=None,
    uidvalidity=7,
    uidnext=6,
    redirect_script=None,
    redirect_active=False,
    own_script_active=False,
    sighting=Sighting(copies=0, uids=(4, 5)),
)


def test_all_that_came_since_is_still_there_so_it_never_came() -> None:
    assert never_delivered(Earlier(), INBOX)
    assert never_delivered(Earlier(uidnext=6), replace(INBOX, sighting=Sighting(0, ())))


def test_a_message_that_arrives_while_we_look_changes_nothing() -> None:
    assert never_delivered(Earlier(), replace(INBOX, sighting=Sighting(0, (4, 5, 6))))


@pytest.mark.parametrize(
    "doubt",
    [
        replace(INBOX, sighting=Sighting(0, (5,))),  # one that came since is gone
        replace(INBOX, sighting=Sighting(0, ())),
        replace(INBOX, uidvalidity=8),  # another inbox: its UIDs say nothing about the earlier one
        replace(INBOX, own_script_active=True),  # the script may have put it anywhere
        replace(INBOX, sighting=None),  # nobody looked
    ],
)
def test_in_doubt_it_is_not_sent_again(doubt: ObservedMailbox) -> None:
    assert not never_delivered(Earlier(), doubt)


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
    seen = replace(INBOX, uidnext=4 + len(inbox), sighting=Sighting(copies, tuple(sorted(left))))
    sent_again = copies == 0 and never_delivered(Earlier(), seen)
    assert not (delivered and sent_again)
    if not delivered and not (deleted & set(range(len(inbox)))):
        assert sent_again
