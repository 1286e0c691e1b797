"""Profiles: how one registrar's export says what an enrolment is.

A profile is data: which column feeds which field, and what its codes mean. `rows` validates the fields and
knows nothing of any export.

Source of the Apogée columns and codes: Amue's Apogée, as SupAnn sites export it (COD_ETU, ETA_IAE, …). The
state of the pedagogical enrolment is no Apogée field: the export computes it in a column of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from producers.registrar.faults import Fault

Problem = tuple[str, Fault, str, str]
"""Field, class of fault, value as read, detail."""


@dataclass(frozen=True, slots=True)
class Column:
    """Where one field comes from.

    Attributes:
        field: a field of `rows.RecordedRow`.
        name: the export's column.
        values: what the column's codes mean; any other code is a fault. None: the value is taken as it is.
    """

    field: str
    name: str
    values: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Profile:
    """One kind of export.

    Attributes:
        name: chosen by `--profile`; also the source named in the events.
        columns: in any order; the file may have more.
        payment_required: whether an enrolment that awaits payment opens no account yet.
    """

    name: str
    columns: tuple[Column, ...]
    payment_required: bool = True

    @property
    def column_names(self) -> tuple[str, ...]:
        """The export's columns, in the order that `take` wants their values in."""
        return tuple(column.name for column in self.columns)

    def column_of(self, field: str) -> str:
        """The export's column for a field; empty if the profile has none."""
        return next((column.name for column in self.columns if column.field == field), "")

    def take(self, cells: Sequence[str]) -> tuple[dict[str, str], list[Problem]]:
        """The fields of one line, empty ones left out, and codes that mean nothing.

        Args:
            cells: the line's values in the order of `columns`, without outer blanks.
        """
        fields: dict[str, str] = {}
        problems: list[Problem] = []
        for column, cell in zip(self.columns, cells, strict=True):
            if not cell:
                continue
            if column.values is None:
                fields[column.field] = cell
            elif cell in column.values:
                fields[column.field] = column.values[cell]
            else:
                known = ", ".join(column.values)
                problems.append((column.field, Fault.UNKNOWN_VALUE, cell, f"known values: {known}"))
        return fields, problems


_YES_NO = MappingProxyType({"O": "true", "N": "false"})


def apogee(*, payment_required: bool = True) -> Profile:
    """Apogée: CSV with a header, one line per student and step.

    Args:
        payment_required: when False, ETA_PMT_IAE = A (awaiting payment) does not keep an enrolment from
            being in force.
    """
    return Profile(
        name="apogee",
        payment_required=payment_required,
        columns=(
            Column("student_number", "COD_ETU"),
            Column("ine", "COD_NNE_IND"),
            Column("birth_name", "LIB_NOM_PAT_IND"),
            Column("usage_name", "LIB_NOM_USU_IND"),
            Column("given_name", "LIB_PR1_IND"),
            Column("birth_date", "DATE_NAI_IND"),
            Column("personal_mail", "MAIL_PERSO"),
            Column("year", "COD_ANU"),
            Column("step", "COD_ETP"),
            Column("step_version", "COD_VRS_VET"),
            Column("component", "COD_CMP"),
            Column("step_label", "LIB_ETP"),
            Column("primary", "TEM_IAE_PRM", _YES_NO),
            Column(
                "state",
                "ETA_IAE",
                MappingProxyType({"C": "pending", "E": "in_force", "A": "cancelled", "R": "terminated"}),
            ),
            Column("payment", "ETA_PMT_IAE", MappingProxyType({"A": "awaiting", "P": "paid"})),
            Column("pedagogical", "IP_VALIDE", MappingProxyType({"O": "validated", "N": "pending"})),
        ),
    )


PROFILES: Mapping[str, Callable[..., Profile]] = MappingProxyType({"apogee": apogee})
"""The profiles that come with Sésame, by the name given to `--profile`."""
