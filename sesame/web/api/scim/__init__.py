"""SCIM 2.0 at `/scim/v2`: programs read and send persons, as registry users."""

from __future__ import annotations

from sesame.web.api.scim.late_answers import LateAnswers
from sesame.web.api.scim.scim_app import SCIM_PREFIX, make_scim

__all__ = ["SCIM_PREFIX", "LateAnswers", "make_scim"]
