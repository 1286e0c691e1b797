"""Looks at the directory all the time: no entry may ever show an older version than it has shown before."""

from __future__ import annotations

import re
import threading
from types import TracebackType
from typing import Self

from sandbox.demo import sweep_directory
from sandbox.process import SandboxError
from sandbox.slapd import Slapd

_EVERY_S = 2.0
_FIELD = re.compile(r"^(supannEtuId|sesameVersion): (.+)$", re.MULTILINE)


class Watch:
    """Reads every entry's version in a thread of its own; use it in a `with`.

    Attributes:
        looks: how often the directory answered.
        back: (student number, version before, version after), where a version went back.
    """

    def __init__(self, slapd: Slapd) -> None:
        self.looks = 0
        self.back: list[tuple[str, int, int]] = []
        self._slapd = slapd
        self._newest: dict[str, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def _run(self) -> None:
        while not self._ended.wait(_EVERY_S):
            try:
                ldif = sweep_directory.search(
                    self._slapd, self._slapd.people_dn, "(supannEtuId=*)", "supannEtuId", "sesameVersion"
                )
            except SandboxError:
                continue  # slapd is away
            self.looks += 1
            for entry in ldif.split("\n\n"):
                self._compare(dict(_FIELD.findall(entry)))

    def _compare(self, fields: dict[str, str]) -> None:
        if len(fields) != 2:  # the number and the version
            return
        number, version = fields["supannEtuId"], int(fields["sesameVersion"])
        before = self._newest.get(number, 0)
        if version < before:
            self.back.append((number, before, version))
        self._newest[number] = version

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
