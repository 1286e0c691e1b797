"""How a fault is planted: by a name that says what it does, in place of something of the shipped code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeVar
from unittest.mock import patch

Planted = Callable[[], AbstractContextManager[object]]
F = TypeVar("F", bound=Callable[..., Any])


def both(*patches: AbstractContextManager[object]) -> AbstractContextManager[object]:
    """All of these at once."""
    stack = ExitStack()
    for each in patches:
        stack.enter_context(each)
    return stack


class Faults(dict[str, Planted]):
    """What plants each fault, by its name: one change of the code, or several."""

    def change(self, name: str, *where: Any, new: Any) -> None:
        """Have `new` in a place: a dotted name, or an object and its attribute."""
        place: Any = patch if len(where) == 1 else patch.object
        before = self.get(name)

        def planted() -> AbstractContextManager[object]:
            one: AbstractContextManager[object] = place(*where, new)
            return one if before is None else both(before(), one)

        self[name] = planted

    def by(self, name: str, *where: Any) -> Callable[[F], F]:
        """Have the decorated function there."""

        def decorate(function: F) -> F:
            self.change(name, *where, new=function)
            return function

        return decorate
