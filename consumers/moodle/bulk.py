"""Many rows in few calls: within PHP's limit, and halved down to the bad row.

Moodle takes a call as a whole or refuses it without saying which row it dislikes. So a refused call is halved
and halved again. A call whose outcome is unknown is never repeated here: it has to be read back first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, log2
from typing import Final, Generic, TypeVar

from consumers.kit.deadline import OutOfTime
from consumers.moodle.errors import Broken, CallFailed, MoodleRefused, OutcomeUnknown, WriteRefused

Row = TypeVar("Row")
Item = TypeVar("Item")
Answered = TypeVar("Answered")

_ALWAYS: Final = 3  # wstoken, wsfunction, moodlewsrestformat


def rows_per_call(fields: int, *, max_input_vars: int, at_most: int, others: int = 0) -> int:
    """How many rows of `fields` variables fit a call.

    `3 + others + rows × fields` stays *below* the limit: PHP keeps one variable more than it says, and a
    cut on a row's boundary is answered as a success.

    Args:
        fields: form variables of one row.
        max_input_vars: the site's limit.
        at_most: what the settings ask for.
        others: variables of the call that belong to no row.
    """
    return max(1, min(at_most, (max_input_vars - 1 - _ALWAYS - others) // fields))


def chunks(rows: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """`rows` in order, `size` at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@dataclass(frozen=True)
class Failure(Generic[Row]):
    """A row that was not carried out.

    Attributes:
        row: the row.
        error: what the call that carried it met.
        alone: the row was alone in that call, so the fault is its own or the site's, and no neighbour's.
    """

    row: Row
    error: CallFailed | OutOfTime
    alone: bool


@dataclass
class BulkReport(Generic[Row, Answered]):
    """What became of every row: each is in one of the two lists, once."""

    accepted: list[tuple[Row, Answered]] = field(default_factory=list)
    failed: list[Failure[Row]] = field(default_factory=list)
    fruitless: int = 0  # calls in a row that the site could not carry out


def carry(
    rows: Sequence[Row],
    size: int,
    call: Callable[[Sequence[Row]], Sequence[Answered]],
    *,
    sift: Callable[[Sequence[Row]], Sequence[Row]] | None = None,
) -> BulkReport[Row, Answered]:
    """Send `rows`, `size` at a time; halve what is refused.

    Args:
        rows: what to send.
        size: rows per call.
        call: sends some rows and answers one thing per row, in order.
        sift: called once for a refused call, before anything is halved: returns the rows that are still worth
            sending. The others are its caller's business and appear in neither list.
    """
    report: BulkReport[Row, Answered] = BulkReport()
    patience = 2 * ceil(log2(max(2, len(rows)))) + 2
    for chunk in chunks(rows, size):
        _carry(chunk, call, sift, report, patience)
    return report


def _carry(
    rows: Sequence[Row],
    call: Callable[[Sequence[Row]], Sequence[Answered]],
    sift: Callable[[Sequence[Row]], Sequence[Row]] | None,
    report: BulkReport[Row, Answered],
    patience: int,
) -> None:
    if not rows:
        return
    try:
        answered = call(rows)
    except (OutcomeUnknown, OutOfTime) as error:
        report.failed += [Failure(row, error, alone=False) for row in rows]
        return
    except (MoodleRefused, Broken) as error:
        if isinstance(error, WriteRefused | Broken):
            report.fruitless += 1
        if sift is not None:
            left = sift(rows)
            if len(left) < len(rows):
                _carry(left, call, None, report, patience)
                return
        if len(rows) == 1:
            report.failed.append(Failure(rows[0], error, alone=True))
        elif report.fruitless > patience:
            # One bad row would have been found by now. A locked table refuses everybody: halving on would
            # only add load and time.
            report.failed += [Failure(row, error, alone=False) for row in rows]
        else:
            middle = len(rows) // 2
            _carry(rows[:middle], call, None, report, patience)
            _carry(rows[middle:], call, None, report, patience)
        return
    report.fruitless = 0
    report.accepted += zip(rows, answered, strict=True)
