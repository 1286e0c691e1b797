"""An account as a SCIM user, and a SCIM user as the kit sees it (RFC 7643, 4.1).

The only file that builds and reads users and groups by the SCIM library, which is slow to load: imported when
first needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from scim2_models import (
    Context,
    Email,
    Group,
    GroupMember,
    Name,
    PatchOp,
    PatchOperation,
    Resource,
    ScimPolicy,
    User,
)

from consumers.kit.connector import Fields, TargetObject
from schemas.account import Account

_READS: Final = ScimPolicy(unknown=ScimPolicy.Unknown.ignore)
_REPLACES: Final = ScimPolicy(unknown=ScimPolicy.Unknown.keep)
_PARTS: Final = {
    "userName": "user_name",
    "externalId": "external_id",
    "displayName": "display_name",
    "preferredLanguage": "preferred_language",
}
_NAMES: Final = {"name.givenName": "given_name", "name.familyName": "family_name"}
_EMAILS: Final = "emails"

_Model = TypeVar("_Model", bound=Resource[Any])
Raw = Mapping[str, Any]


class _Address(Email):
    """An address as services have it: the library refuses those of internal domains."""

    value: str | None = None


class _User(User[Any]):
    emails: list[_Address] | None = None  # type: ignore[assignment]


def wanted_fields(account: Account, user_name: str) -> dict[str, tuple[str, ...]]:
    """The wanted fields of this account's user, without groups."""
    person = account.person
    values: dict[str, str | None] = {
        "userName": getattr(account, user_name),
        "externalId": account.student_number,
        "name.givenName": person.shown_given_name,
        "name.familyName": person.family_name,
        "displayName": person.display_name,
        _EMAILS: account.mail,
        "preferredLanguage": person.language,
    }
    return _fields(values)


def shown(raw: Raw, user_name: str) -> TargetObject | None:
    """A user as the kit sees it, without its groups. None: it has no id, so no call can name it."""
    user = _read(_User, raw)[0]
    if not user.id:
        return None
    name = user.name or Name()
    values: dict[str, str | None] = {field: getattr(user, part) for field, part in _PARTS.items()}
    values |= {field: getattr(name, part) for field, part in _NAMES.items()}
    values[_EMAILS] = _main_address(user)
    mails = [mail.value for mail in user.emails or () if mail.value]
    return TargetObject(
        ref=user.id,
        student_number=user.external_id or "",
        fields=_fields(values),
        open=user.active is not False,  # by default open: RFC 7643 leaves that to the service
        names=(
            *(((user_name, user.user_name),) if user.user_name else ()),
            *(("mail", mail) for mail in mails),
        ),
        revision=(user.meta.version if user.meta else None) or "",
        evidence={
            kind: said
            for kind, said in (("family", name.family_name), ("given", name.given_name))
            if said is not None
        },
    )


def new_user(fields: Fields, *, active: bool) -> dict[str, Any]:
    """The body of a creation."""
    user = _User()
    _set(user, fields, active=active)
    return _dumped(user, Context.RESOURCE_CREATION_REQUEST)


def replaced_user(raw: Raw, fields: Fields, *, active: bool | None) -> dict[str, Any]:
    """The body of a replacement: all that the service showed, with these changes."""
    user, odd = _read(_User, raw, _REPLACES)
    _set(user, fields, active=active)
    return _others(odd) | _dumped(user, Context.RESOURCE_REPLACEMENT_REQUEST)


def patched_user(fields: Fields, *, active: bool | None, raw: Raw | None = None) -> dict[str, Any]:
    """The body of a modification, an operation per field. `raw`: the user now, for its addresses."""
    operations: list[PatchOperation[_User]] = []
    for field, values in fields.items():
        if field == _EMAILS:
            value: Any = _addresses(_read(_User, raw or {})[0], values)
        else:
            value = values[0] if values else None
        operations.append(_operation(_User, field, value))
    if active is not None:
        operations.append(_operation(_User, "active", active))
    return _dumped(PatchOp[_User](operations=operations), Context.RESOURCE_PATCH_REQUEST)


def new_group(name: str, external_id: str) -> dict[str, Any]:
    """The body of a group's creation."""
    group = Group(display_name=name, external_id=external_id)
    return _dumped(group, Context.RESOURCE_CREATION_REQUEST)


def patched_members(add: list[str], remove: list[str]) -> dict[str, Any]:
    """The body of a modification that adds and removes these members only."""
    operations = [
        PatchOperation[Group](op=PatchOperation.Op.add, path="members", value=[_member(ref)]) for ref in add
    ]
    operations += [
        PatchOperation[Group](op=PatchOperation.Op.remove, path=f"members[value eq {quoted(ref)}]")
        for ref in remove
    ]
    return _dumped(PatchOp[Group](operations=operations), Context.RESOURCE_PATCH_REQUEST)


def replaced_members(raw: Raw, add: list[str], remove: list[str]) -> dict[str, Any]:
    """The body of a group's replacement: all it showed, with these members changed."""
    group, odd = _read(Group, raw, _REPLACES)
    members = [member for member in group.members or () if member.value not in {*add, *remove}]
    group.members = [*members, *(GroupMember(**_member(ref)) for ref in add)] or None
    return _others(odd) | _dumped(group, Context.RESOURCE_REPLACEMENT_REQUEST)


def members_of(raw: Raw) -> list[str] | None:
    """The ids of a group's members; None: it shows no members."""
    members = _read(Group, raw)[0].members
    return None if members is None else [member.value for member in members if member.value]


def mark_of(raw: Raw) -> str:
    """A group's `externalId`, or empty."""
    return _read(Group, raw)[0].external_id or ""


def name_of(raw: Raw) -> str:
    """A group's name."""
    return _read(Group, raw)[0].display_name or ""


def quoted(value: str) -> str:
    """A string in a filter: a JSON string (RFC 7644, 3.4.2.2)."""
    return json.dumps(value, ensure_ascii=False)


def _fields(values: Mapping[str, str | None]) -> dict[str, tuple[str, ...]]:
    """One form for both sides. Some services keep user names' case (RFC 7643, 4.1.1)."""
    lowered = {name: value.lower() for name in ("userName", _EMAILS) if (value := values[name])}
    return {name: (value,) if value else () for name, value in {**values, **lowered}.items()}


def _member(ref: str) -> dict[str, str]:
    return {"value": ref, "type": "User"}


def _operation(model: type[_Model], path: str, value: Any) -> PatchOperation[_Model]:
    operation: Any = PatchOperation[model]  # type: ignore[valid-type]
    if value is None or value == []:
        result: PatchOperation[_Model] = operation(op=PatchOperation.Op.remove, path=path)
    else:
        result = operation(op=PatchOperation.Op.replace_, path=path, value=value)
    return result


def _set(user: _User, fields: Fields, *, active: bool | None) -> None:
    for field, values in fields.items():
        value = values[0] if values else None
        if field in _PARTS:
            setattr(user, _PARTS[field], value)
        elif field in _NAMES:
            user.name = user.name or Name()
            setattr(user.name, _NAMES[field], value)
        elif field == _EMAILS:
            user.emails = [_Address(**mail) for mail in _addresses(user, values)] or None
    if active is not None:
        user.active = active


def _addresses(user: _User, values: tuple[str, ...]) -> list[dict[str, Any]]:
    """The addresses with the main one replaced. Further ones, perhaps the student's, stay."""
    gone = {each.lower() for each in (_main_address(user), *values) if each}
    ours = [{"value": value, "type": "work", "primary": True} for value in values]
    others = [mail for mail in user.emails or () if mail.value and mail.value.lower() not in gone]
    kept = [_dumped(mail, Context.DEFAULT) | {"primary": False} for mail in others]
    return [*ours, *kept]


def _main_address(user: _User) -> str | None:
    """Our address: the primary one, else the work one, else the first."""
    mails = [mail for mail in user.emails or () if mail.value]
    for chosen in (
        [mail for mail in mails if mail.primary],
        [mail for mail in mails if mail.type == "work"],
        mails,
    ):
        if chosen:
            address: str | None = chosen[0].value
            return address
    return None


def _read(model: type[_Model], raw: Raw, policy: ScimPolicy = _READS) -> tuple[_Model, dict[str, Any]]:
    """A resource, and attributes that do not fit SCIM. One wrong value hides no other."""
    left, odd = dict(raw), dict[str, Any]()
    while True:
        try:
            return model.model_validate(left, scim_policy=policy), odd
        except ValidationError as error:
            wrong = {_plain(str(each["loc"][0])) for each in error.errors() if each["loc"]}
            found = [name for name in left if _plain(name) in wrong]
            if not found:
                return model(), odd
            odd |= {name: left.pop(name) for name in found}


def _others(odd: Raw) -> dict[str, Any]:
    """The unreadable attributes, without those that only the service may set."""
    return {name: value for name, value in odd.items() if _plain(name) not in {"id", "meta", "groups"}}


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _dumped(model: Any, context: Context) -> dict[str, Any]:
    body: dict[str, Any] = model.model_dump(mode="json", scim_ctx=context, scim_policy=_REPLACES)
    return body
