"""The sample that `sesame connector new` writes, as modules: as it is, or with a fault planted in it."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

from sesame.testing.connector.bench import ConnectorBench

TEMPLATE = Path(__file__).parents[2] / "sesame/operations/targets/connectors/template"


def module(folder: Path, name: str, text: str) -> ModuleType:
    """A module of this text, from a file: the suite reads its source."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@contextmanager
def sample(folder: Path, replaced: Sequence[tuple[str, str]] = ()) -> Iterator[ConnectorBench]:
    """The sample on its stand-in, with these texts of the connector replaced."""
    text = (TEMPLATE / "connector.txt").read_text(encoding="utf-8")
    for old, new in replaced:
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the sample"
        text = text.replace(old, new)
    connector = module(folder, "library", text).Library
    test = module(folder, "test_library", (TEMPLATE / "test.txt").read_text(encoding="utf-8"))
    test.Service.patrons = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), test.Service)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield ConnectorBench(
            connector,
            lambda address: {"url": f"http://{address}"},
            f"127.0.0.1:{server.server_port}",
            stranger=test.stranger,
            refuse=test.refused,
            name="library",
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for name in ("library", "test_library"):  # these alone: what is imported twice is two
            sys.modules.pop(name, None)
