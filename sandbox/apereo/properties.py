"""An Apereo CAS's configuration: `cas.properties`, and a JSON file per service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sandbox.cas.config import RELEASED, CasDirectory, Service

KEYSTORE, TRUSTSTORE, SERVICES = "tls/server.p12", "tls/trusted.p12", "etc/services"
STORE_PASSWORD = "sandbox"
OPERATOR, OPERATOR_PASSWORD = "sesame", "sandbox-operator"
"""The account that may see and end sessions, by the endpoint `ssoSessions`."""

_FIRST_ID = 1001


def properties(folder: Path, port: int, directory: CasDirectory) -> str:
    """The server's own settings. All people of a directory log in by a bind with their own password."""
    values = {
        "cas.server.name": f"https://127.0.0.1:{port}",
        "cas.server.prefix": f"https://127.0.0.1:{port}/cas",
        "server.address": "127.0.0.1",
        "server.port": port,
        "server.tomcat.basedir": folder / "tmp",
        "server.ssl.key-store": f"file:{folder / KEYSTORE}",
        "server.ssl.key-store-type": "PKCS12",
        "server.ssl.key-store-password": STORE_PASSWORD,
        "server.ssl.key-password": STORE_PASSWORD,
        "cas.authn.accept.enabled": "false",  # the built-in account
        **{f"cas.authn.ldap[0].{name}": value for name, value in _ldap(directory).items()},
        "cas.service-registry.core.init-from-json": "true",
        "cas.service-registry.json.location": f"file:{folder / SERVICES}",
        "cas.service-registry.schedule.enabled": "false",
        "cas.logout.follow-service-redirects": "true",
        "cas.http-client.allow-local-urls": "true",  # it notifies services on localhost of logouts too
        "management.endpoints.web.exposure.include": "ssoSessions",
        "management.endpoint.ssoSessions.enabled": "true",
        "cas.monitor.endpoints.endpoint.ssoSessions.access": "AUTHENTICATED",
        "spring.security.user.name": OPERATOR,
        "spring.security.user.password": f"{{noop}}{OPERATOR_PASSWORD}",
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def definition(number: int, service: Service) -> dict[str, Any]:
    """A service that may send people here, for CAS's JSON registry.

    Its pattern matches the whole address, where django-cas-server's matches the beginning.
    """
    made: dict[str, Any] = {
        "@class": "org.apereo.cas.services.RegexRegisteredService",
        "serviceId": service.pattern if service.pattern.endswith("$") else f"{service.pattern}.*",
        "name": service.name,
        "id": _FIRST_ID + number,
        "evaluationOrder": number,
        "logoutType": "BACK_CHANNEL",
        "attributeReleasePolicy": {
            "@class": "org.apereo.cas.services.ReturnAllowedAttributeReleasePolicy",
            "allowedAttributes": ["java.util.ArrayList", list(service.attributes)],
        },
    }
    if service.only_if:
        required = {name: ["java.util.HashSet", [value]] for name, value in service.only_if.items()}
        made["accessStrategy"] = {
            "@class": "org.apereo.cas.services.DefaultRegisteredServiceAccessStrategy",
            "requiredAttributes": {"@class": "java.util.HashMap", **required},
        }
    return made


def _ldap(directory: CasDirectory) -> dict[str, str]:
    return {
        "type": "AUTHENTICATED",
        "ldap-url": directory.uri,
        "base-dn": directory.base_dn,
        "search-filter": "(&(objectClass=supannPerson)(uid={user}))",
        "bind-dn": directory.bind_dn,
        "bind-credential": Path(directory.bind_password_file).read_text(encoding="utf-8"),
        "principal-attribute-id": "uid",
        "principal-attribute-list": ",".join(RELEASED),
        "password-policy.enabled": "true",
        "password-policy.type": "GENERIC",
        "min-pool-size": "0",
        "connect-timeout": "PT3S",
        "response-timeout": "PT5S",
        "block-wait-time": "PT3S",
    }
