"""The registry: facts in, one account per student out. Mints identities, merges facts, announces versions."""

from consumers.registry.handler import Registry
from consumers.registry.minting import GRACE_ENDS, YEAR_ENDS
from consumers.registry.settings import MembershipTemplate, RegistrySettings

__all__ = ["GRACE_ENDS", "YEAR_ENDS", "MembershipTemplate", "Registry", "RegistrySettings"]
