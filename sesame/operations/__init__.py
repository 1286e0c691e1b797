"""The acts of operators, students and programs: one function each."""

from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType


def load_all() -> list[ModuleType]:
    """Import the modules of every act, so that `acts.RIGHTS` has them all."""
    return [import_module(module.name) for module in walk_packages(__path__, f"{__name__}.")]
