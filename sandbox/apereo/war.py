"""Apereo CAS as published: the web archive with Tomcat inside, and modules.

The modules are for LDAP and for operators. See `sandbox.maven` for downloads and upgrades.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sandbox.maven import Artifacts

CAS_VERSION = "6.6.12"
_MODULE_VERSION = "6.6.2"  # the newest published 6.6; what it needs is in the archive
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
    """The place of the server's program."""

    folder: Path

    @property
    def class_path(self) -> str:
        """Java's class path, without another servlet container."""
        web = self.folder / f"cas-server-webapp-tomcat-{CAS_VERSION}.war" / "WEB-INF"
        modules = (f"{self.folder}/{module}-{_MODULE_VERSION}.jar" for module in _MODULES)
        return ":".join((f"{web}/classes:{web}/lib/*", *modules))


def fetch_war() -> War:
    """The server's program; fetched now if missing. Raises as `Artifacts.fetch`."""
    return War(_ARTIFACTS.fetch())
