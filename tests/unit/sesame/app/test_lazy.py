"""Stand-ins of modules: what one thread imports lazily, another imports as ever."""

from __future__ import annotations

import builtins
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import pytest

from sesame.app.lazy import lazily


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package whose `library` stops between two imports, as a server's do in its first request."""
    root = tmp_path / "lazy_shelf"
    root.mkdir()
    (root / "__init__.py").touch()
    (root / "base.py").write_text("class Base:\n    kind = 'real'\n")
    (root / "other.py").write_text("kind = 'real'\n")
    (root / "library.py").write_text(
        textwrap.dedent("""\
            from lazy_shelf import reached, proceed
            reached.set()
            assert proceed.wait(10)
            from lazy_shelf.base import Base

            class Derived(Base):
                pass
            """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield import_module("lazy_shelf")
    for name in [name for name in sys.modules if name.partition(".")[0] == "lazy_shelf"]:
        del sys.modules[name]


def test_another_thread_imports_real_modules_meanwhile(package: Any) -> None:
    package.reached, package.proceed = Event(), Event()

    with ThreadPoolExecutor() as threads:
        library = threads.submit(import_module, "lazy_shelf.library")
        assert package.reached.wait(10)
        with lazily():
            from lazy_shelf import other  # type: ignore[import-not-found]

            package.proceed.set()
            assert library.result(10).Derived.kind == "real"

    assert "lazy_shelf.other" not in sys.modules
    assert other.kind == "real"


def test_two_threads_import_lazily_one_after_the_other(package: Any) -> None:
    before = builtins.__import__
    entered, left = Event(), Event()

    def second() -> None:
        entered.set()
        with lazily():
            left.set()

    with ThreadPoolExecutor() as threads:
        with lazily():
            ended = threads.submit(second)
            assert entered.wait(10)
            assert not left.wait(0.1)
        ended.result(10)

    assert builtins.__import__ is before


def test_a_loaded_module_is_taken_itself(package: Any) -> None:
    loaded = import_module("lazy_shelf.base")
    with lazily():
        from lazy_shelf import base, other

        assert not hasattr(other, "kind"), "what looks meanwhile loads nothing"
    assert base is loaded
    assert "lazy_shelf.other" not in sys.modules
    assert other.kind == "real"
    assert "lazy_shelf.other" in sys.modules
