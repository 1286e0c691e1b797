"""Forwarding routes, derived from the acts that declare their `ActPath`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import Query
from pydantic import BaseModel

from sesame.acts.acts import ActPath
from sesame.operations import load_all
from sesame.web.api.routes import Call, Caller, ImportId, Name, route

_NONE: Final = inspect.Parameter.empty
_NAMED: Final = re.compile(r"\{(\w+)\}")
_NOTES: Final = re.compile(r"\n\n(?:Args|Returns|Raises):")


def derive(act: Callable[..., Any], path: ActPath) -> None:
    """Register the route of an act.

    The path's names are the act's first arguments after site and actor; a request is the body, or the query
    of a GET. `clock` is the API's; any other required argument reports progress, which no program
    sees.
    """
    function = inspect.unwrap(act)
    called = inspect.signature(function, eval_str=True)
    _site, _actor, *parameters = called.parameters.values()
    named = _NAMED.findall(path.path)
    taken: dict[str, tuple[Any, Any]] = {}
    for name, each in zip(named, parameters, strict=False):
        taken[name] = (ImportId if each.annotation is int else Name), _NONE
    arguments = list(taken)
    more: list[str] = []
    query: type[BaseModel] | None = None
    for each in parameters[len(named) :]:
        if inspect.isclass(each.annotation) and issubclass(each.annotation, BaseModel):
            arguments.append("request")
            if path.method == "GET":
                query = each.annotation
                for name, field in query.model_fields.items():
                    described = Annotated[field.annotation, Query(description=field.description)]  # type: ignore[name-defined]
                    taken[name] = described, field.default
            else:
                taken["request"] = each.annotation, _NONE
        elif each.default is _NONE:
            more.append(each.name)

    async def endpoint(call: Call, **given: Any) -> Any:
        if query is not None:
            given["request"] = query(**{name: given[name] for name in query.model_fields})
        extra = {name: call.clock if name == "clock" else _silent for name in more}
        given_ones = (given[name] for name in arguments)
        return await to_thread.run_sync(partial(act, call.site, call.actor, *given_ones, **extra))

    keyword = inspect.Parameter.KEYWORD_ONLY
    endpoint.__name__ = path.operation
    endpoint.__doc__ = _NOTES.split(inspect.getdoc(function) or "")[0]
    endpoint.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("call", keyword, annotation=Caller),
            *(
                inspect.Parameter(name, keyword, annotation=kind, default=default)
                for name, (kind, default) in taken.items()
            ),
        ],
        return_annotation=called.return_annotation,
    )
    route(path.method, path.path, act, status=path.status)(endpoint)


def _silent(*_progress: object) -> None:
    """Report progress to no program."""


for _subject in load_all():
    for _act in list(vars(_subject).values()):
        _path = vars(_act).get("path") if inspect.isfunction(_act) else None
        if _path is not None and _act.__module__ == _subject.__name__:
            derive(_act, _path)
