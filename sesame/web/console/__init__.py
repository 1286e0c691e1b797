"""The operators' console: a face over `sesame.operations`, behind CAS, by roles. It edits no row."""

from sesame.web.console.app import make_console
from sesame.web.console.console_context import PREFIX, ConsoleContext

__all__ = ["PREFIX", "ConsoleContext", "make_console"]
