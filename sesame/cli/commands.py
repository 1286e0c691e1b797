"""Every command and where it is defined. To add one: write its file, then a line here."""

from __future__ import annotations

from typing import Final

COMMANDS: Final[dict[str, str]] = {
    "doctor": "sesame.cli.doctor:doctor",
    "migrate": "sesame.cli.migrate:migrate",
    "settings": "sesame.cli.settings:settings",
    "vault": "sesame.cli.vault:vault",
    "version": "sesame.cli.version:version",
}
"""Name to `module:attribute` of a click command. A module is imported only when its command is asked for."""
