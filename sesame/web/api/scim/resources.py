"""Users as this service shows them, and its description of itself (RFC 7643).

Only what is kept is declared: a client can send the person's identity as the registrar has it; what follows
from it (the login, the addresses, the stage) is read-only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, cast

from pydantic import Field, ValidationError
from scim2_models import (
    URN,
    AuthenticationScheme,
    Bulk,
    CaseExact,
    ChangePassword,
    ComplexAttribute,
    ETag,
    Extension,
    Filter,
    InvalidValueException,
    Meta,
    Mutability,
    Pagination,
    Patch,
    Reference,
    Required,
    Resource,
    ResourceType,
    Schema,
    ScimPolicy,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)

from producers.registrar.external_ids import EXTERNAL_ID_CHARACTERS_MAX
from schemas.account import Administrative, Enrolment, Hold, Pedagogical, Stage
from schemas.language import gettext
from sesame.operations.programs.registered_persons import RegisteredPerson
from sesame.operations.programs.sent_persons import SendPersonRequest
from sesame.operations.programs.teaching_groups import GroupReport, MakeGroupRequest
from sesame.web.api.scim.errors import places_of

PAGE_MAX: Final = 200
BULK_OPERATIONS_MAX: Final = 100
BULK_BYTES_MAX: Final = 1_048_576
CURSOR_S_MAX: Final = 86_400

USERS: Final = "User"
GROUPS: Final = "Group"


class PersonName(ComplexAttribute):
    """A person, as the registrar writes it."""

    family_name: str | None = None
    """The family name at birth (nom de famille); empty: the person has a given name only."""

    given_name: str | None = None
    """The first given name; empty: the person has a family name only."""


class PersonAddress(ComplexAttribute):
    """A mail address of the institution's."""

    value: str | None = None
    """The address."""

    type: str | None = None
    """Always `work`."""

    primary: bool | None = None
    """Whether it is the one that mail is sent from."""


class UserGroup(ComplexAttribute):
    """A teaching group of a person."""

    value: str | None = None
    """The group's id."""

    ref: Reference["Group"] | None = Field(  # type: ignore[name-defined]  # noqa: F821, UP037 (SCIM's name)
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    """Where it is."""

    display: str | None = None
    """What it is called."""


class ScimUser(Resource[Any]):
    """A person whom the registrar has enrolled."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Mutability.read_only, Uniqueness.server] = None
    """The login, given once and for ever; what a client sends is not taken."""

    name: Annotated[PersonName | None, Required.true] = None
    """Names, as the registrar writes them."""

    display_name: Annotated[str | None, Mutability.read_only] = None
    """The name that is shown to others: the usage name and the preferred given name count."""

    emails: Annotated[list[PersonAddress] | None, Mutability.read_only] = None
    """The addresses that belong to the login, for ever; the first one is in use."""

    preferred_language: Annotated[str | None, Mutability.read_only] = None
    """As the student has chosen, else the site's."""

    groups: Annotated[list[UserGroup] | None, Mutability.read_only] = None
    """The teaching groups that programs keep; they are changed by the groups."""

    active: Annotated[bool | None, Required.true] = None
    """False: access is shut by an administrative hold. Other holds are in the student's `holds`."""

    @classmethod
    def to_schema(cls) -> Schema:
        """See `Resource.to_schema`; by SCIM's name."""
        schema = super().to_schema()
        schema.name = USERS
        return schema


class StudentEnrolment(ComplexAttribute):
    """One enrolment in one version of a programme step (étape), in one academic year."""

    year: Annotated[int | None, Required.true] = None
    """The academic year: 2026 means 2026-2027."""

    step: Annotated[str | None, Required.true, CaseExact.true] = None
    """The programme step's code, e.g. `L1INFO`."""

    step_version: Annotated[str | None, Required.true, CaseExact.true] = None
    """Its version's code, e.g. `261`."""

    step_label: Annotated[str | None, Required.true] = None
    """Its name."""

    component: Annotated[str | None, Required.true, CaseExact.true] = None
    """The component (composante) that teaches it, e.g. `SCI`."""

    main: Annotated[bool | None, Required.true] = None
    """Whether it is the student's main one of the year. (`primary` is SCIM's own word: one of all values.)"""

    administrative: Annotated[str | None, Required.true] = Field(
        None, examples=[state.value for state in Administrative if state is not Administrative.CANCELLED]
    )
    """The state of the administrative enrolment, which opens the account."""

    pedagogical: Annotated[str | None, Required.true] = Field(
        None, examples=[state.value for state in Pedagogical]
    )
    """The state of the pedagogical enrolment, which opens the courses."""


class Student(Extension):
    """What the registrar knows of a student, and the account's state."""

    __schema__ = URN("urn:sesame:params:scim:schemas:1.0:Student")

    student_number: Annotated[
        str | None, Required.true, Mutability.immutable, CaseExact.true, Uniqueness.server
    ] = None
    """The establishment's student number, which is the user's id too."""

    usage_name: str | None = None
    """The name in use (nom d'usage), if it is another one."""

    preferred_given_name: str | None = None
    """The preferred given name (prénom d'usage), if it is another one."""

    birth_date: Annotated[str | None, Required.true] = None
    """The day of birth, e.g. `2007-03-14`."""

    ine: Annotated[str | None, CaseExact.true] = None
    """The national student number (INE). Once one is known it is kept: it can be replaced, not removed."""

    personal_mail: Annotated[str | None, CaseExact.true] = None
    """The personal mail address, to which the invitation goes."""

    mobile: str | None = None
    """The mobile number, to which codes may go; France, unless it begins with + and another country."""

    enrolments: Annotated[list[StudentEnrolment] | None, Required.true] = None
    """All enrolments that were not cancelled. Who has none left is no user any more."""

    stage: Annotated[str | None, Mutability.read_only] = None
    """Where the account stands: precreated, active, grace, expired."""

    holds: Annotated[list[str] | None, Mutability.read_only] = None
    """Every reason for which access is shut."""


class GroupMember(ComplexAttribute):
    """A student who is in a group."""

    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    """The user's id."""

    ref: Annotated[
        Reference["User"] | None,  # type: ignore[name-defined]  # noqa: F821, UP037 (SCIM's name)
        Mutability.immutable,
    ] = Field(None, serialization_alias="$ref", validation_alias="$ref")
    """Where the user is."""

    type: Annotated[str | None, Mutability.immutable] = Field(None, examples=[USERS])
    """Always `User`."""


class ScimGroup(Resource[Any]):
    """A teaching group: the students who follow a teaching unit together."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Required.true] = None
    """What programs call it. It is shown here alone: cohorts are named after unit and group."""

    members: list[GroupMember] | None = None
    """The students in it. A PUT without this attribute leaves them as they are."""

    @classmethod
    def to_schema(cls) -> Schema:
        """See `Resource.to_schema`; by SCIM's name."""
        schema = super().to_schema()
        schema.name = GROUPS
        return schema


class TaughtUnit(ComplexAttribute):
    """What is taught."""

    year: Annotated[int | None, Required.true, Mutability.immutable] = None
    """The academic year: 2026 means 2026-2027."""

    unit: Annotated[str | None, Required.true, Mutability.immutable, CaseExact.true] = None
    """The teaching unit's code (UE, élément pédagogique), e.g. `INF101`."""

    group: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    """The group's code, e.g. `TD2`; without it, the unit has none."""


class TeachingGroupExtension(Extension):
    """Which teaching unit and group it is. Where this is not sent, displayName is the unit's code, and the
    year is the present one."""

    __schema__ = URN("urn:sesame:params:scim:schemas:1.0:TeachingGroup")

    teaching: Annotated[TaughtUnit | None, Required.true, Mutability.immutable] = None
    """The unit and the group, once and for ever."""


CONFIG: Final = ServiceProviderConfig(
    patch=Patch(supported=True),
    bulk=Bulk(supported=True, max_operations=BULK_OPERATIONS_MAX, max_payload_size=BULK_BYTES_MAX),
    filter=Filter(supported=True, max_results=PAGE_MAX),
    change_password=ChangePassword(supported=False),
    sort=Sort(supported=True),
    etag=ETag(supported=True),
    pagination=Pagination(
        cursor=True,
        index=True,
        default_pagination_method=Pagination.DefaultPaginationMethod.index,
        default_page_size=PAGE_MAX,
        max_page_size=PAGE_MAX,
        cursor_timeout=CURSOR_S_MAX,
    ),
    authentication_schemes=[
        AuthenticationScheme(
            type=AuthenticationScheme.Type.oauthbearertoken,
            name="Bearer token",
            description="`sesame token create` makes one; its scopes say what it may do.",
            primary=True,
        )
    ],
)
PROVIDER: Final = ScimProvider(
    models=[ScimUser, Student, ScimGroup, TeachingGroupExtension],
    resource_types=[
        ResourceType.from_resource(cast("Any", ScimUser)[Annotated[Student, Required.true]]),
        ResourceType.from_resource(cast("Any", ScimGroup)[TeachingGroupExtension]),
    ],
    config=CONFIG,
    policy=ScimPolicy(
        unknown=ScimPolicy.Unknown.ignore,  # clients send what they have
        remove_value_as_filter=ScimPolicy.RemoveValue.apply,  # Entra's way
    ),
)
SOMEBODY: Final = RegisteredPerson(
    student_number="1",
    external_id=None,
    birth_name="",
    usage_name=None,
    given_name="",
    preferred_given_name=None,
    display_name="",
    birth_date="2000-01-01",
    ine=None,
    personal_mail=None,
    mobile=None,
    language="fr",
    login="",
    mails=(),
    stage=Stage.ACTIVE,
    holds=frozenset(),
    enrolments=(),
    groups=(),
    named_at=datetime.fromtimestamp(0, UTC),
    changed_at=datetime.fromtimestamp(0, UTC),
)
"""Any person, for what all have alike."""
UserWithStudent: Final[Any] = PROVIDER.model_for(USERS)
GroupOfTeaching: Final[Any] = PROVIDER.model_for(GROUPS)


def user_of(person: RegisteredPerson) -> Any:
    """A person as a user."""
    user = UserWithStudent(
        schemas=[ScimUser.__schema__, Student.__schema__],
        id=person.student_number,
        external_id=person.external_id,
        user_name=person.login,
        name=PersonName(family_name=person.birth_name or None, given_name=person.given_name or None),
        display_name=person.display_name,
        emails=[
            PersonAddress(value=mail, type="work", primary=position == 0)
            for position, mail in enumerate(person.mails)
        ],
        preferred_language=person.language,
        groups=[
            UserGroup(value=each.id, ref=f"Groups/{each.id}", display=each.display_name)
            for each in person.groups
        ]
        or None,
        active=Hold.ADMINISTRATIVE not in person.holds,
    )
    user[Student] = Student(
        student_number=person.student_number,
        usage_name=person.usage_name,
        preferred_given_name=person.preferred_given_name,
        birth_date=person.birth_date,
        ine=person.ine,
        personal_mail=person.personal_mail,
        mobile=person.mobile,
        enrolments=[
            StudentEnrolment(
                year=each.year,
                step=each.step,
                step_version=each.step_version,
                step_label=each.step_label,
                component=each.component,
                main=each.primary,
                administrative=each.administrative.value,
                pedagogical=each.pedagogical.value,
            )
            for each in person.enrolments
        ],
        stage=person.stage.value,
        holds=sorted(person.holds) or None,
    )
    user.meta = Meta(
        resource_type=USERS,
        created=person.named_at,
        last_modified=person.changed_at,
        version=version_of(person),
    )
    return user


def user_json(person: RegisteredPerson, base_url: str) -> dict[str, Any]:
    """The whole JSON of a user: takes a twentieth of the time of the library's models."""
    number = person.student_number
    times = {"created": person.named_at, "lastModified": person.changed_at}
    return _given(
        schemas=[ScimUser.__schema__, Student.__schema__],
        id=number,
        externalId=person.external_id,
        meta={
            "resourceType": USERS,
            **{name: at.isoformat().replace("+00:00", "Z") for name, at in times.items()},
            "location": f"{base_url}/Users/{number}",
            "version": version_of(person),
        },
        userName=person.login,
        name=_given(familyName=person.birth_name, givenName=person.given_name),
        displayName=person.display_name,
        emails=[
            {"value": mail, "type": "work", "primary": place == 0} for place, mail in enumerate(person.mails)
        ],
        preferredLanguage=person.language,
        groups=[
            {"value": each.id, "$ref": f"{base_url}/Groups/{each.id}", "display": each.display_name}
            for each in person.groups
        ],
        active=Hold.ADMINISTRATIVE not in person.holds,
    ) | {
        Student.__schema__: _given(
            studentNumber=number,
            usageName=person.usage_name,
            preferredGivenName=person.preferred_given_name,
            birthDate=person.birth_date,
            ine=person.ine,
            personalMail=person.personal_mail,
            mobile=person.mobile,
            enrolments=[_enrolment_json(each) for each in person.enrolments],
            stage=person.stage.value,
            holds=sorted(person.holds),
        )
    }


def _enrolment_json(enrolment: Enrolment) -> dict[str, Any]:
    return {
        "year": enrolment.year,
        "step": enrolment.step,
        "stepVersion": enrolment.step_version,
        "stepLabel": enrolment.step_label,
        "component": enrolment.component,
        "main": enrolment.primary,
        "administrative": enrolment.administrative.value,
        "pedagogical": enrolment.pedagogical.value,
    }


def _given(**attributes: Any) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value not in (None, "", [], {})}


def group_of(shown: GroupReport) -> Any:
    """A teaching group as a group."""
    group = GroupOfTeaching(
        id=shown.id,
        external_id=shown.external_id,
        display_name=shown.display_name,
        members=None
        if shown.members is None
        else [GroupMember(value=number, ref=f"Users/{number}", type=USERS) for number in shown.members],
    )
    group[TeachingGroupExtension] = TeachingGroupExtension(
        teaching=TaughtUnit(year=shown.year, unit=shown.element, group=shown.group or None)
    )
    group.meta = Meta(
        resource_type=GROUPS,
        created=shown.created_at,
        last_modified=shown.changed_at,
        version=f'W/"{shown.version}"',
    )
    return group


def made_of(group: Any) -> MakeGroupRequest:
    """A sent group, as one to make. Raises `InvalidValueException`: a code or a name has another form."""
    said = group[TeachingGroupExtension]
    teaching = said.teaching if said is not None else TaughtUnit(unit=group.display_name)
    try:
        return MakeGroupRequest(
            display_name=group.display_name,
            element=teaching.unit,
            group=teaching.group,
            year=teaching.year,
            external_id=group.external_id,
            members=tuple(members_in(group)),
        )
    except ValidationError as error:
        raise InvalidValueException(detail=places_of(error, {"element": "unit"})) from None


def members_in(group: Any) -> list[str]:
    """The ids of a group's members. Raises `InvalidValueException`: one has none."""
    numbers = [each.value for each in group.members or ()]
    if not all(numbers):
        raise InvalidValueException(detail=gettext("a member has no `value`"))
    return numbers


def student_of(sent: object) -> str | None:
    """The student number of a user that was sent; None: it is none, or has none."""
    student = sent[Student] if isinstance(sent, UserWithStudent) else None
    return None if student is None else student.student_number


def person_of(user: Any, approve: str | None) -> SendPersonRequest:
    """A user that was sent, as a person; read-only attributes are ignored.

    Raises `InvalidValueException`: there is no enrolment, or no such state of one.
    """
    student, name = user[Student], user.name or PersonName()
    if not student.enrolments:
        raise InvalidValueException(detail=gettext("there is no enrolment: DELETE ends all of them"))
    try:
        steps = tuple(_enrolment(each) for each in student.enrolments)
    except ValidationError as error:
        raise InvalidValueException(
            detail=places_of(error, {"primary": "main"}, within="enrolments.")
        ) from None
    _refuse_two_readings(steps)
    if len(user.external_id or "") > EXTERNAL_ID_CHARACTERS_MAX:
        raise InvalidValueException(
            detail=gettext("externalId: at most {count} characters", count=EXTERNAL_ID_CHARACTERS_MAX)
        )
    return SendPersonRequest(
        student_number=student.student_number,
        external_id=user.external_id,
        birth_name=name.family_name or None,
        usage_name=student.usage_name or None,
        given_name=name.given_name or None,
        preferred_given_name=student.preferred_given_name or None,
        birth_date=student.birth_date,
        ine=student.ine or None,
        personal_mail=student.personal_mail or None,
        mobile=student.mobile or None,
        enrolments=steps,
        active=user.active,
        approve=approve,
    )


def _refuse_two_readings(steps: Sequence[Enrolment]) -> None:
    """Check that each enrolment occurs once, and each year has one main enrolment."""
    alike = {(each.year, each.step, each.step_version): each for each in reversed(steps)}
    main: dict[int, Enrolment] = {}
    for each in steps:
        if alike[each.year, each.step, each.step_version] != each:
            said = gettext("enrolments: {step} of {year} is there twice", step=each.step, year=each.year)
            raise InvalidValueException(detail=said)
        if each.primary and main.setdefault(each.year, each) != each:
            said = gettext("enrolments.main: {year} has more than one main enrolment", year=each.year)
            raise InvalidValueException(detail=said)


def _enrolment(sent: StudentEnrolment) -> Enrolment:
    fields = {name: getattr(sent, name) for name in Enrolment.model_fields if hasattr(sent, name)}
    return Enrolment.model_validate({**fields, "primary": sent.main})


def version_of(person: RegisteredPerson) -> str:
    """The version (ETag) of all that is shown.

    An account's version does not do: it does not count data that only the registrar uses.
    """
    shown = person.model_dump_json(exclude={"named_at", "changed_at", "holds"})
    return f'W/"{hashlib.sha256(f"{shown}{sorted(person.holds)}".encode()).hexdigest()[:16]}"'
