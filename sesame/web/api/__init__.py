"""The HTTP API for programs: acts under `/v1`, requested with a bearer token."""

from __future__ import annotations

from sesame.web.api.api_app import API_PREFIX, make_api, openapi_page

__all__ = ["API_PREFIX", "make_api", "openapi_page"]
