"""The registry: facts in, one account per student out. It mints identities and account versions."""

from __future__ import annotations

from typing import Final

NAME: Final = "registry"
