"""SCIM 2.0 at `/scim/v2`: programs read and send persons, as registry users."""

from __future__ import annotations

from pipeline.errors import of_extra

with of_extra("scim"):
    from sesame.web.api.scim.late_answers import LateAnswers
    from sesame.web.api.scim.scim_app import make_scim

__all__ = ["LateAnswers", "make_scim"]
