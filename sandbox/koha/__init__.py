"""A stand-in of Koha's REST interface: patrons, as its description and tests say."""

from sandbox.koha.library import Library
from sandbox.koha.server import KohaServer

__all__ = ["KohaServer", "Library"]
