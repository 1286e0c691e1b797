"""Koha's settings: new patrons' library and category, and the number's field."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from consumers.kit.settings import HttpConnectorSettings
from pipeline.settings import ADVANCED


class KohaSettings(HttpConnectorSettings):
    """Koha. Its `token` is the login and the password of a patron, as `login:password`."""

    basic: ClassVar[bool] = True
    library: str = Field(min_length=1, description="Koha's code of the library that new patrons belong to.")
    category: str = Field(min_length=1, description="Koha's code of new patrons' category.")
    number_field: Literal["cardnumber", "statistics_1", "statistics_2"] = Field(
        "cardnumber",
        description="Where the student number is; not in `cardnumber` where that is the card's own number.",
        json_schema_extra=ADVANCED,
    )
