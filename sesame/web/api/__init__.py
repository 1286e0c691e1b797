"""The HTTP API for programs: the acts of `sesame.operations` under `/v1`.

Requests carry a bearer token.
"""

from __future__ import annotations

from sesame.web.api.api_app import API_PREFIX, make_api, openapi_page

__all__ = ["API_PREFIX", "make_api", "openapi_page"]
