"""What happens, told to programs: events of the log, signed and sent to the receivers that the settings name.

`webhooks` is the consumer that notes for each receiver what it is to be told; each receiver has a sender of
its own, `webhooks_NAME`. See ADR 46.
"""

from __future__ import annotations

from typing import Final

NAME: Final = "webhooks"
PREFIX: Final = f"{NAME}_"


def sender_of(receiver: str) -> str:
    """What a receiver's sender is called, where consumers are."""
    return PREFIX + receiver
