"""A replay's changes: each student in the target now, and as wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from consumers.kit.handler import OBJECT
from consumers.registry import NAME as REGISTRY
from pipeline import accounts, target_states
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.target import Handler, Preview
from schemas.account import Account, Stage
from schemas.scalars import Count
from sesame.acts.acts import OPERATORS, Actor, ActPath, ActRequest, Report, act
from sesame.acts.ports import Handlers, check_target, works_without_target


class Effect(Report):
    """One student.

    Attributes:
        differs: what would be written, in the target's own words; empty: nothing.
        obstacle: why it would not be, or not yet; empty: nothing is in the way.
        obsolete: the dead letter is about a version that a newer one has replaced.
    """

    student_number: str
    differs: tuple[str, ...]
    obstacle: str
    obsolete: bool


@dataclass
class Radius:
    """The whole effect of a replay."""

    effects: list[Effect] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """Number of students to write."""
        return sum(bool(effect.differs) and not effect.obstacle for effect in self.effects)

    @property
    def same(self) -> int:
        """Number of students who already are as wanted."""
        return sum(not effect.differs and not effect.obstacle for effect in self.effects)

    @property
    def obsolete(self) -> int:
        """Number of dead letters about a replaced version."""
        return sum(effect.obsolete for effect in self.effects)

    def names(self) -> dict[str, int]:
        """Number of students by field to write, the most frequent first."""
        return dict(Counter(name for effect in self.effects for name in effect.differs).most_common())

    def obstacles(self) -> dict[str, int]:
        """Number of students who would not be written, by reason, most frequent first."""
        return dict(Counter(each.obstacle for each in self.effects if each.obstacle).most_common())


class PreviewRequest(ActRequest):
    """The effect of a replay for these students, of so many that were selected."""

    consumer: str
    students: tuple[str, ...]
    selected: Count


class ReplayPreview(Report):
    """The changes, in all and for each; see `blast_radius`. Nothing was published."""

    consumer: str
    published: bool = False
    students: int
    looked_at: int
    changed: int
    same: int
    obsolete: int
    differs: dict[str, int]
    obstacles: dict[str, int]
    effects: list[Effect]

    @property
    def made(self) -> int:
        """Number of students for whom an object would be created."""
        return sum(OBJECT in each.differs and not each.obstacle for each in self.effects)


@act("replay.preview", OPERATORS, path=ActPath("preview_replay", "POST", "/replays/preview"))
def preview(site: Handlers, _actor: Actor, request: PreviewRequest) -> ReplayPreview:
    """Compare these students with the target; write and publish nothing.

    Raises:
        UnknownTarget: the settings name no such target.
        TargetDown, Throttled, Misconfigured: the target cannot be read.
    """
    radius = _radius(site, request)
    return ReplayPreview(
        consumer=request.consumer,
        students=request.selected,
        looked_at=len(radius.effects),
        changed=radius.changed,
        same=radius.same,
        obsolete=radius.obsolete,
        differs=radius.names(),
        obstacles=radius.obstacles(),
        effects=radius.effects,
    )


def _radius(site: Handlers, request: PreviewRequest) -> Radius:
    if works_without_target(site, request.consumer):  # nothing to compare with: each is worked on again
        return Radius(
            [
                Effect(
                    student_number=number,
                    differs=("account" if request.consumer == REGISTRY else "events",),
                    obstacle="",
                    obsolete=False,
                )
                for number in request.students
            ]
        )
    check_target(site, request.consumer)
    follows = site.follows.get(request.consumer)
    with closing(site.handler(request.consumer)) as handler:
        return blast_radius(request.students, handler=handler, database=site.database, follows=follows)


def blast_radius(
    students: Sequence[str],
    *,
    handler: Handler,
    database: Database,
    follows: str | None,
) -> Radius:
    """Compare each student with the target as it is now; write and publish nothing.

    `follows`: the target that this one follows, if any.

    Raises:
        TargetDown, Throttled, Misconfigured: the target cannot be read.
        StoreUnavailable: nor the database.
    """
    radius = Radius()
    for start in range(0, len(students), handler.batch_size):
        page = students[start : start + handler.batch_size]
        radius.effects += _page(page, handler, database, follows)
    return radius


def _page(page: Sequence[str], handler: Handler, database: Database, follows: str | None) -> Iterator[Effect]:
    with database.read() as connection:
        known = {n: each.at(handler.name) for n, each in accounts.newest(connection, page).items()}
        letters = dead_letters.newest_versions(connection, handler.name, page)
        leader = target_states.states_of(connection, follows, page) if follows else None
    # Of the others a turn would end before it reaches the target.
    wanted = {number: each for number, each in known.items() if each.stage is not Stage.PRECREATED}
    previews = handler.preview(list(wanted.values())) if wanted else {}
    for number in page:
        account, version = known.get(number), letters.get(number)
        preview = _of(number, account, previews)
        behind = account is not None and leader is not None and _applied(leader, number) < account.version
        yield Effect(
            student_number=number,
            differs=preview.differs,
            obstacle=preview.obstacle or (f"after {follows}" if behind else ""),
            obsolete=account is not None and version is not None and version < account.version,
        )


def _of(number: str, account: Account | None, previews: Mapping[str, Preview]) -> Preview:
    if account is None:
        return Preview(obstacle="unknown_student")
    return previews.get(number, Preview(obstacle=f"stage {account.stage}"))


def _applied(leader: Mapping[str, target_states.TargetState], number: str) -> int:
    state = leader.get(number)
    return state.applied_version if state is not None else 0
