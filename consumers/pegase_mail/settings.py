"""The write-back to Pégase. Where that is, the feed's section says."""

from __future__ import annotations

from typing import ClassVar

from consumers.kit.settings import AnswerTime, BatchSize, HttpClientSettings


class PegaseMailSettings(HttpClientSettings):
    """The institutional mail address in Pégase, written once the mailbox is there; `[pegase]` says where
    it is."""

    place: ClassVar[str] = "pegase_mail"

    batch_size: BatchSize = 1  # each is read directly before it is written: people correct it there, too
    timeout_s: AnswerTime = 35.0  # calls of 30 s were seen

    @property
    def system(self) -> str:
        """See `ConnectorSettings.system`."""
        return "Pégase"
