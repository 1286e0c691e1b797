"""django-cas-server as a Django site, configured from a `Config`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import django  # type: ignore[import-untyped]
import ldap3
from django.conf import settings  # type: ignore[import-untyped]

from sandbox.cas.config import Config, Service
from sandbox.ldap import VerifiedTls

_HERE = Path(__file__).resolve().parent
_APPS = ("contenttypes", "auth", "sessions", "messages")
_LDAP_S_MAX = 5


def configure(config: Config) -> None:
    """Set Django up. Once per process, before anything else of Django is imported."""
    folder = Path(config.folder)
    settings.configure(
        SECRET_KEY=(folder / "secret-key").read_text(encoding="ascii"),
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF="sandbox.cas.urls",
        STATIC_URL="/static/",
        INSTALLED_APPS=[*(f"django.contrib.{name}" for name in _APPS), "cas_server"],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.locale.LocaleMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[_templates()],
        DATABASES={"default": _database(folder / "cas.sqlite")},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        LANGUAGE_CODE="fr",
        FORGOTTEN_URL=config.forgotten_url,
        USE_TZ=True,
        SESSION_COOKIE_SECURE=True,
        CSRF_COOKIE_SECURE=True,
        **_cas(config),
    )
    django.setup()


def enrol(services: Sequence[Service]) -> None:
    """Make the tables, and replace the services that may send people here."""
    from cas_server import models  # type: ignore[import-untyped]
    from django.core.management import call_command  # type: ignore[import-untyped]

    call_command("migrate", verbosity=0)
    models.ServicePattern.objects.exclude(pattern__in=[each.pattern for each in services]).delete()
    for each in services:
        pattern, _ = models.ServicePattern.objects.update_or_create(
            pattern=each.pattern, defaults={"name": each.name, "single_log_out": True}
        )
        pattern.attributs.all().delete()
        pattern.filters.all().delete()
        for name in each.attributes:
            pattern.attributs.create(name=name, replace="")
        for name, wanted in each.only_if.items():
            pattern.filters.create(attribut=name, pattern=wanted)


def application() -> Any:
    """The site, for an ASGI server."""
    from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]

    return get_asgi_application()


def addresses(_request: object) -> dict[str, str]:
    """Of other pages, for the templates."""
    return {"forgotten_url": settings.FORGOTTEN_URL}


def _templates() -> dict[str, object]:
    return {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [str(_HERE / "templates")],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
                "sandbox.cas.site.addresses",
            ]
        },
    }


def _database(path: Path) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }


def _cas(config: Config) -> dict[str, object]:
    """The server's own settings. Its templates are ours: the package's fetch scripts from elsewhere."""
    directory = config.directory
    ldap3.set_config_parameter("RESTARTABLE_TRIES", 2)
    ldap3.set_config_parameter("RESTARTABLE_SLEEPTIME", 0.2)
    server = ldap3.Server(
        directory.uri, tls=VerifiedTls(directory.ca_file), get_info=ldap3.NONE, connect_timeout=_LDAP_S_MAX
    )
    return {
        "CAS_AUTH_CLASS": "sandbox.cas.people.DirectoryUser",
        "CAS_LDAP_SERVER": server,
        "CAS_LDAP_USER": directory.bind_dn,
        "CAS_LDAP_PASSWORD": Path(directory.bind_password_file).read_text(encoding="utf-8"),
        "CAS_LDAP_BASE_DN": directory.base_dn,
        "CAS_LDAP_USER_QUERY": "(&(objectClass=supannPerson)(uid=%(username)s))",
        "CAS_LDAP_PASSWORD_CHECK": "bind",
        "CAS_NEW_VERSION_HTML_WARNING": False,  # it would query the package's registry
        "CAS_NEW_VERSION_EMAIL_WARNING": False,
        "CAS_LOGO_URL": None,
        "CAS_FAVICON_URL": None,
        "CAS_LOGIN_TEMPLATE": "cas/login.html",
        "CAS_WARN_TEMPLATE": "cas/login.html",
        "CAS_LOGGED_TEMPLATE": "cas/logged.html",
        "CAS_LOGOUT_TEMPLATE": "cas/logout.html",
    }
