"""Support: the codes that students read out, and the desks that their cases go to."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pipeline.settings import ADVANCED, Address, Section


class DeskSettings(BaseModel):
    """A desk. The first one that fits is chosen: one that names causes and components before one that names
    either, and that before one that names neither."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64, description="The desk's name, as students know it.")
    mail: Address = Field(description="Where cases are sent.")
    hours: str = Field("", max_length=200, description="Its opening hours, in French.")
    hours_en: str = Field("", max_length=200, description="The same in English; empty: as in French.")
    causes: tuple[str, ...] = Field(
        (),
        description="Rules of the diagnosis (`mailbox_full`), services (`moodle`), or who must act "
        "(`registrar`, `component`, `operator`); empty: any.",
    )
    components: tuple[str, ...] = Field((), description="Codes of components; empty: any.")


class SupportSettings(Section):
    """Support: the codes that students read out, and the desks that their cases go to."""

    place: ClassVar[str] = "support"

    desks: tuple[DeskSettings, ...] = Field(
        (), description="The desks. Without any: the address of `portal.support`, for all causes."
    )
    components: dict[str, Annotated[str, StringConstraints(min_length=1, max_length=200)]] = Field(
        {},
        description="Names of components by code, as students know them. One without a name is shown by its "
        "code.",
        json_schema_extra=ADVANCED,
    )
