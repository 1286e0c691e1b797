"""Apereo CAS as its project publishes it: the web archive with Tomcat inside, and its modules for LDAP and
for what operators ask of it.

See `sandbox.maven` for how they come, and how to move to another version.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sandbox.maven import Artifacts

CAS_VERSION = "6.6.12"
_MODULE_VERSION = "6.6.2"  # the newest of 6.6 that is published by itself; what it needs is in the archive
_MODULES = ("cas-server-support-ldap", "cas-server-support-reports", "cas-server-support-reports-core")

_ARTIFACTS = Artifacts(
    "apereo",
    f"Apereo CAS {CAS_VERSION}",
    f"""
    <dependency>
      <groupId>org.apereo.cas</groupId>
      <artifactId>cas-server-webapp-tomcat</artifactId>
      <version>{CAS_VERSION}</version>
      <type>war</type>
    </dependency>
  """
    + "".join(
        f"""
    <dependency>
      <groupId>org.apereo.cas</groupId>
      <artifactId>{module}</artifactId>
      <version>{_MODULE_VERSION}</version>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
    </dependency>
  """
        for module in _MODULES
    ),
    Path(__file__).with_name("war.sha256"),
)


@dataclass(frozen=True, slots=True)
class War:
    """Where the server's program is."""

    folder: Path

    @property
    def class_path(self) -> str:
        """What Java needs to run it, without a servlet container besides."""
        web = self.folder / f"cas-server-webapp-tomcat-{CAS_VERSION}.war" / "WEB-INF"
        modules = (f"{self.folder}/{module}-{_MODULE_VERSION}.jar" for module in _MODULES)
        return ":".join((f"{web}/classes:{web}/lib/*", *modules))


def fetch_war() -> War:
    """The server's program; fetched now unless it is there. Raises as `Artifacts.fetch`."""
    return War(_ARTIFACTS.fetch())
