"""Webhooks: events of the log, signed and sent to the receivers of the settings. See ADR 46.

`webhooks` is the consumer that stores each receiver's events; each receiver has its own sender,
`webhooks_NAME`.
"""

from __future__ import annotations

from typing import Final

NAME: Final = "webhooks"
PREFIX: Final = f"{NAME}_"


def sender_of(receiver: str) -> str:
    """The name of a receiver's sender among the consumers."""
    return PREFIX + receiver
