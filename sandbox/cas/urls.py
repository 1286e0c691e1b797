"""The site's addresses: everything below `/cas/`."""

from __future__ import annotations

from django.urls import include, path  # type: ignore[import-untyped]

urlpatterns = [path("cas/", include("cas_server.urls", namespace="cas_server"))]
