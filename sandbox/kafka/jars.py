"""Apache Kafka's jars: fetched once by Maven, checked against `jars.sha256`, kept in the user's cache.

Several processes may ask at once: one fetches, the others wait for it. What is in the cache was checked when
it was put there, and is put there whole, by one rename.

To move to another version: change the numbers below, run `python -m sandbox.kafka`, and replace `jars.sha256`
by what its message proposes, after a look at what changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from sandbox.process import MissingServer, SandboxError, find_program

KAFKA_VERSION = "4.3.1"
_SLF4J_BINDING_VERSION = "2.25.4"  # as log4j-core, which Kafka brings; its slf4j-api is a 1.7
_FETCH_S_MAX = 300
_PINNED = Path(__file__).with_name("jars.sha256")
_PACKAGES = "default-jre-headless maven"

_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>fr.sesame.sandbox</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>{_SLF4J_BINDING_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


class MissingJars(MissingServer):
    """Maven could not fetch Kafka's jars: no network, perhaps. The message ends with what it said."""

    def __init__(self, said: str) -> None:
        SandboxError.__init__(self, f"Maven could not fetch Apache Kafka {KAFKA_VERSION}: {said}")
        self.program, self.package = "kafka", _PACKAGES


def fetch_jars() -> Path:
    """The folder of the jars; fetched now unless they are there.

    Raises:
        MissingServer: Java or Maven is not installed, or the jars cannot be fetched.
        SandboxError: a jar is not the one that is pinned.
    """
    find_program("java", _PACKAGES)
    pinned = _pinned()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sesame-sandbox"
    folder = cache / f"kafka-{hashlib.sha256(_PINNED.read_bytes()).hexdigest()[:16]}"
    if _holds(folder, pinned):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _holds(folder, pinned):
            _fetch(folder, pinned)
    return folder


def _pinned() -> dict[str, str]:
    """SHA-256 in hexadecimal, per jar."""
    lines = (line.split() for line in _PINNED.read_text(encoding="utf-8").splitlines())
    return {name: digest for digest, name in lines}


def _holds(folder: Path, pinned: dict[str, str]) -> bool:
    return all((folder / name).is_file() for name in pinned)


def _fetch(folder: Path, pinned: dict[str, str]) -> None:
    maven = find_program("mvn", _PACKAGES)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".kafka-") as work:
        (Path(work) / "pom.xml").write_text(_POM, encoding="utf-8")
        fetched = Path(work) / "jars"
        command = [
            str(maven),
            "--quiet",
            "--batch-mode",
            "--strict-checksums",
            "dependency:copy-dependencies",
        ]
        try:
            done = subprocess.run(
                [*command, "-DincludeScope=runtime", f"-DoutputDirectory={fetched}"],
                cwd=work,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_FETCH_S_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MissingJars(f"it took more than {_FETCH_S_MAX} s") from None
        if done.returncode:
            raise MissingJars((done.stdout + done.stderr).strip()[-1000:])
        _verify(fetched, pinned)
        shutil.rmtree(folder, ignore_errors=True)
        fetched.rename(folder)


def _verify(fetched: Path, pinned: dict[str, str]) -> None:
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in sorted(fetched.glob("*.jar"))}
    if found != pinned:
        listing = "\n".join(f"{digest}  {name}" for name, digest in found.items())
        wrong = sorted({name for name, _ in found.items() ^ pinned.items()})
        raise SandboxError(f"not the jars that {_PINNED.name} names: {', '.join(wrong)}; found:\n{listing}")
