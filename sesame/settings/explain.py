"""Explain a wrong setting plainly: where it is, what is wrong, what is right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.settings import FILE_SUFFIX, Section
from schemas.language import gettext, gettext_noop

Loc = tuple[int | str, ...]

ENV_PREFIX = "SESAME_"
ENV_NESTED = "__"


@dataclass(frozen=True)
class Sources:
    """The sources read: the file (path, text, content) and the upper-case environment."""

    file: Path | None
    text: str
    content: Mapping[str, Any]
    environment: Mapping[str, str]

    @staticmethod
    def path_of(variable: str) -> Loc:
        """The setting that a variable names."""
        return tuple(variable.removeprefix(ENV_PREFIX).lower().split(ENV_NESTED))

    def place(self, loc: Loc) -> str:
        """Return the place where the setting at `loc` was read."""
        names = [part for part in loc if isinstance(part, str)]
        for length in range(len(names), 0, -1):
            variable = ENV_PREFIX + ENV_NESTED.join(names[:length]).upper()
            if variable in self.environment:
                return in_environment(variable)
            if any(name.startswith(variable + ENV_NESTED) for name in self.environment) and not self._holds(
                loc
            ):
                return in_environment(f"{variable}{ENV_NESTED}…")
        if self.file is not None and (self._holds(loc) or self._holds(loc[:1])):
            return in_file(self.file, self.line(names), loc)
        return gettext("setting {name}", name=dotted(loc))

    def _holds(self, loc: Loc) -> bool:
        value: Any = self.content
        for part in loc:
            try:
                value = value[part]
            except (LookupError, TypeError):
                return False
        return bool(loc)

    def line(self, names: Sequence[str]) -> int | None:
        """The line of a key, by its section's header and its name; None: not found."""
        section = ""
        for number, line in enumerate(self.text.splitlines(), start=1):
            if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
                section = header[1]
                if section == ".".join(names):
                    return number
            elif key := re.match(r"\s*([\w.-]+)\s*=", line):
                full = f"{section}.{key[1]}" if section else key[1]
                if full == ".".join(names[: full.count(".") + 1]) and full.count(".") + 1 >= min(
                    len(names), 2
                ):
                    return number
        return None


def in_environment(variable: str) -> str:
    """Name the place of a setting: a variable."""
    return gettext("environment, {name}", name=variable)


def in_file(file: Path | None, line: int | None, loc: Loc) -> str:
    """Name the place of a setting: a file, and its line if it is known."""
    name = dotted(loc)
    if not line:
        return f"{file}, {name}"
    return gettext("{file}, line {line}, {name}", file=file, line=line, name=name)


def explain(error: ValidationError, model: type[BaseModel], sources: Sources) -> list[str]:
    """One line for each fault."""
    return [
        gettext("{place}: {what}", place=sources.place(each["loc"]), what=_what(each, model))
        for each in error.errors(include_url=False, include_context=True, include_input=True)
    ]


def unknown_key(model: type[BaseModel], loc: Loc) -> str:
    """The message for an unknown key: the nearest valid names, if any is near."""
    names = all_names(model)
    here = [name for name in names if name.rpartition(".")[0] == dotted(loc[:-1])]
    last = str(loc[-1])
    by_last = {name.rpartition(".")[2]: name for name in here}
    near = [by_last[name] for name in difflib.get_close_matches(last, by_last, n=1, cutoff=0.6)]
    same = [name for name in names if name.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(dotted(loc), same, n=1, cutoff=0.75) or same
    near = near or difflib.get_close_matches(dotted(loc), names, n=1, cutoff=0.75)
    if near:
        return gettext("unknown; did you mean {names}?", names=_or(near))
    sections = [name for name in model.model_fields if _is_section(model, name)]
    where = dotted(loc[:-1])
    valid = [name.rpartition(".")[2] for name in here] or sections
    return gettext("unknown; {where} has {names}", where=where or gettext("the file"), names=", ".join(valid))


def _or(choices: Sequence[str]) -> str:
    word = gettext("or")
    return f" {word} ".join(choices)


def all_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """List the settings and sections below `model`, dotted."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        names.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names.extend(all_names(field.annotation, f"{prefix}{name}."))
    return names


def dotted(loc: Loc) -> str:
    """`("registry", "cohorts", 0, "key")` as `registry.cohorts[0].key`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _is_section(model: type[BaseModel], name: str) -> bool:
    annotation = model.model_fields[name].annotation
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


WORDS: dict[str, str] = {
    "missing": gettext_noop("is missing"),
    "greater_than": gettext_noop("must be more than {gt}"),
    "greater_than_equal": gettext_noop("must be at least {ge}"),
    "less_than": gettext_noop("must be less than {lt}"),
    "less_than_equal": gettext_noop("must be at most {le}"),
    "string_too_short": gettext_noop("must have at least {min_length} characters"),
    "string_too_long": gettext_noop("must have at most {max_length} characters"),
    "string_pattern_mismatch": gettext_noop("must look like {pattern}"),
    "too_short": gettext_noop("must have {min_length} or more entries"),
    "literal_error": gettext_noop("must be {expected}"),
    "enum": gettext_noop("must be {expected}"),
    "int_parsing": gettext_noop("must be a whole number"),
    "int_type": gettext_noop("must be a whole number"),
    "int_from_float": gettext_noop("must be a whole number"),
    "float_parsing": gettext_noop("must be a number"),
    "float_type": gettext_noop("must be a number"),
    "bool_parsing": gettext_noop("must be true or false"),
    "bool_type": gettext_noop("must be true or false"),
    "string_type": gettext_noop("must be a text in quotes"),
    "path_type": gettext_noop("must be a path in quotes"),
    "tuple_type": gettext_noop("must be a list in brackets"),
    "model_type": gettext_noop("must be a table, with a line for each setting"),
    "dict_type": gettext_noop("must be a table, with a line for each setting"),
}


def _what(each: ErrorDetails, model: type[BaseModel]) -> str:
    if each["type"] == "extra_forbidden":
        return unknown_key(model, each["loc"])
    if each["type"] == "value_error":
        return str(each["ctx"]["error"])
    context = each.get("ctx", {})
    if each["type"] not in WORDS:
        return each["msg"][:1].lower() + each["msg"][1:]
    if "expected" in context:  # pydantic's list, in English
        context = {**context, "expected": _or(context["expected"].split(" or "))}
    template = WORDS[each["type"]]
    what, found = gettext(template, **context), _found(each, model)
    return gettext("{what}, and is {found}", what=what, found=found) if found else what


def _found(each: ErrorDetails, model: type[BaseModel]) -> str:
    """The value found, unless it may be a secret or is too long to help."""
    value = each["input"]
    if _may_be_secret(each["loc"], model) or not isinstance(value, str | int | float):
        return ""
    shown = repr(value)
    return shown if len(shown) <= 80 else ""  # noqa: PLR2004 (a line of a terminal)


def _may_be_secret(loc: Loc, model: type[BaseModel]) -> bool:
    annotation = (
        model.model_fields[str(loc[0])].annotation if loc and str(loc[0]) in model.model_fields else None
    )
    if isinstance(annotation, type) and issubclass(annotation, Section) and len(loc) > 1:
        return str(loc[1]).removesuffix(FILE_SUFFIX) in annotation.secrets()
    return False
