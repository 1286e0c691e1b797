"""The API for programs: the acts of `sesame.operations` at `/v1`, for bearers of tokens."""

from __future__ import annotations

from sesame.web.api.api_app import API_PREFIX, make_api, openapi_page

__all__ = ["API_PREFIX", "make_api", "openapi_page"]
