"""A stand-in of Koha's REST interface: patrons, as its published description and tests have them."""

from sandbox.koha.library import Library
from sandbox.koha.server import KohaServer

__all__ = ["KohaServer", "Library"]
