"""Maven's downloads for the sandbox, checked by SHA-256, in the user's cache.

Of several processes one fetches, and the others wait. The cache's contents were checked before one rename put
them there, whole.

To move to another version: change the numbers in the room that names them, run it (`python -m sandbox.kafka`,
`python -m sandbox.apereo`), and replace its `*.sha256` by the message's proposal, after a look at what
changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from sandbox.process import MissingServer, SandboxError, find_program

JAVA = "default-jre-headless"
_PACKAGES = f"{JAVA} maven"
_FETCH_S_MAX = 300


class MissingArtifacts(MissingServer):
    """Maven could not fetch something: no network, perhaps. The message ends with what it said."""

    def __init__(self, title: str, said: str) -> None:
        SandboxError.__init__(self, f"Maven could not fetch {title}: {said}")
        self.program, self.package = title, _PACKAGES


@dataclass(frozen=True)
class Artifacts:
    """One server's parts.

    Attributes:
        name: of its folder in the cache.
        title: for messages.
        dependencies: to fetch: the `dependency` elements of a pom.xml.
        pinned: a file with the SHA-256 of each artifact, as `sha256sum` writes it. A web archive (.war) is
            unpacked, into a folder of its name.
    """

    name: str
    title: str
    dependencies: str
    pinned: Path

    def fetch(self) -> Path:
        """The folder of the artifacts; fetched now if missing.

        Raises:
            MissingServer: Java or Maven is not installed, or something cannot be fetched.
            SandboxError: an artifact is not the one that is pinned.
        """
        find_program("java", _PACKAGES)
        pinned = self._pinned()
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sesame-sandbox"
        folder = cache / f"{self.name}-{hashlib.sha256(self.pinned.read_bytes()).hexdigest()[:16]}"
        if _holds(folder, pinned):
            return folder
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _holds(folder, pinned):
                self._fetch(folder, pinned)
        return folder

    def _pinned(self) -> dict[str, str]:
        """SHA-256 in hexadecimal, per artifact."""
        lines = (line.split() for line in self.pinned.read_text(encoding="utf-8").splitlines())
        return {name: digest for digest, name in lines}

    def _fetch(self, folder: Path, pinned: dict[str, str]) -> None:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{self.name}-") as work:
            (Path(work) / "pom.xml").write_text(_pom(self.name, self.dependencies), encoding="utf-8")
            fetched = Path(work) / "fetched"
            self._run_maven(Path(work), fetched)
            self._verify(fetched, pinned)
            for archive in fetched.glob("*.war"):
                _unpack(archive)
            shutil.rmtree(folder, ignore_errors=True)
            fetched.rename(folder)

    def _run_maven(self, work: Path, into: Path) -> None:
        maven = find_program("mvn", _PACKAGES)
        options = ("--quiet", "--batch-mode", "--strict-checksums")
        goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into}")
        try:
            done = subprocess.run(
                [str(maven), *options, *goal],
                cwd=work,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_FETCH_S_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MissingArtifacts(self.title, f"it took more than {_FETCH_S_MAX} s") from None
        if done.returncode:
            raise MissingArtifacts(self.title, (done.stdout + done.stderr).strip()[-1000:])

    def _verify(self, fetched: Path, pinned: dict[str, str]) -> None:
        found = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in sorted(fetched.iterdir())}
        if found != pinned:
            listing = "\n".join(f"{digest}  {name}" for name, digest in found.items())
            wrong = sorted({name for name, _ in found.items() ^ pinned.items()})
            raise SandboxError(f"not what {self.pinned.name} names: {', '.join(wrong)}; found:\n{listing}")


def _pom(name: str, dependencies: str) -> str:
    return f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>fr.sesame.sandbox</groupId>
  <artifactId>{name}</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>{dependencies}</dependencies>
</project>
"""


def _holds(folder: Path, pinned: dict[str, str]) -> bool:
    return all((folder / name).exists() for name in pinned)


def _unpack(archive: Path) -> None:
    packed = archive.rename(archive.with_suffix(".packed"))
    with zipfile.ZipFile(packed) as content:
        content.extractall(archive)
    packed.unlink()
