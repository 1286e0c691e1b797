"""Webhooks: events of the log, signed and sent to the receivers of the settings.

`webhooks` is the consumer that stores each receiver's events; each receiver has its own sender,
`webhooks_NAME`. See ADR 46.
"""

from __future__ import annotations

from typing import Final

NAME: Final = "webhooks"
PREFIX: Final = f"{NAME}_"


def sender_of(receiver: str) -> str:
    """What a receiver's sender is called, where consumers are."""
    return PREFIX + receiver
