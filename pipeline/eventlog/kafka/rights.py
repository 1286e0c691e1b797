"""Rights in Kafka (its ACLs), as a file lists them."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaAdminClient
from kafka import errors as e
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from pipeline.eventlog.kafka.access import Access
from pipeline.eventlog.kafka.workarounds import connected
from pipeline.eventlog.port import LogError

_ANY_HOST = "*"
_KEYS = frozenset({"group", "reads", "writes", "sees", "outbox"})


class RightsUnreadable(LogError):
    """The file of Kafka's rights cannot be used. ops/kafka/acls.toml is the one that Sésame needs."""


class Right(NamedTuple):
    """A user's right to one operation on one topic or group, named in full."""

    user: str
    operation: str  # READ, WRITE, DESCRIBE
    kind: str  # TOPIC, GROUP
    name: str


def read_rights(path: Path) -> frozenset[Right]:
    """Return the rights in a file such as `ops/kafka/acls.toml`.

    Raises:
        RightsUnreadable: naming what is wrong.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        outbox = content["outbox"]["writes"]
        return frozenset(
            right for user, given in content["users"].items() for right in _rights(user, given, outbox)
        )
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RightsUnreadable(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise RightsUnreadable(f"{path} has not the form of ops/kafka/acls.toml: {error}") from error


def _rights(user: str, given: Mapping[str, Any], outbox: list[str]) -> Iterator[Right]:
    if unknown := set(given) - _KEYS:
        raise KeyError(f"users.{user}.{min(unknown)}")
    if "group" in given:
        yield Right(user, "READ", "GROUP", given["group"])
    for topic in given.get("reads", []):
        yield Right(user, "READ", "TOPIC", topic)
    for topic in [*given.get("writes", []), *(outbox if given.get("outbox") else [])]:
        yield Right(user, "WRITE", "TOPIC", topic)
    for topic in given.get("sees", []):
        yield Right(user, "DESCRIBE", "TOPIC", topic)


class Granting:
    """Reads, grants and revokes the rights of a cluster.

    Raises:
        LogRefused, LogUnavailable: there is no connection.
    """

    def __init__(self, access: Access) -> None:
        access.check()
        self._access = access
        with access.explained("connecting"):
            self._admin: KafkaAdminClient = connected(KafkaAdminClient, **access.configuration())

    def present(self, users: Collection[str]) -> frozenset[Right]:
        """Return these users' present rights that name a topic or group in full.

        Raises:
            NotAllowed: the administrator's rights are needed for this.
            LogUnavailable: try again.
        """
        everything = ACLFilter(
            None,
            None,
            ACLOperation.ANY,
            ACLPermissionType.ALLOW,
            ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.LITERAL),
        )
        with self._access.explained("looking at the rights"):
            found, error = self._admin.describe_acls(everything)
            if error is not e.NoError:
                raise error
        rights = (
            Right(
                acl.principal.removeprefix("User:"),
                ACLOperation(acl.operation).name,
                ResourceType(acl.resource_pattern.resource_type).name,
                acl.resource_pattern.resource_name,
            )
            for acl in found
        )
        return frozenset(right for right in rights if right.user in users)

    def grant(self, rights: Collection[Right]) -> None:
        """Grant these rights; raises as `present`."""
        with self._access.explained("granting"):
            failed = self._admin.create_acls([_acl(right) for right in rights])["failed"] if rights else []
            for _, error in failed:
                raise error

    def revoke(self, rights: Collection[Right]) -> None:
        """Revoke these rights; raises as `present`."""
        with self._access.explained("revoking"):
            done = self._admin.delete_acls([_acl(right) for right in rights]) if rights else []
            for _, _, error in done:
                if error is not e.NoError:
                    raise error

    def close(self) -> None:
        """Release resources."""
        self._admin.close()


def _acl(right: Right) -> ACL:
    return ACL(
        f"User:{right.user}",
        _ANY_HOST,
        ACLOperation[right.operation],
        ACLPermissionType.ALLOW,
        ResourcePattern(ResourceType[right.kind], right.name, ACLResourcePatternType.LITERAL),
    )
