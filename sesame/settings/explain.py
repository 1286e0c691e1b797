"""Say what is wrong with a setting in plain words: where it was read, what is wrong, what would be right."""

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

Loc = tuple[int | str, ...]

ENV_PREFIX = "SESAME_"
ENV_NESTED = "__"


@dataclass(frozen=True)
class Sources:
    """What was read: the file (its path, text and content) and the environment (names in upper case)."""

    file: Path | None
    text: str
    content: Mapping[str, Any]
    environment: Mapping[str, str]

    @staticmethod
    def path_of(variable: str) -> Loc:
        """The setting that a variable names."""
        return tuple(variable.removeprefix(ENV_PREFIX).lower().split(ENV_NESTED))

    def place(self, loc: Loc) -> str:
        """Where the setting at `loc` was read."""
        names = [part for part in loc if isinstance(part, str)]
        for length in range(len(names), 0, -1):
            variable = ENV_PREFIX + ENV_NESTED.join(names[:length]).upper()
            if variable in self.environment:
                return f"environment, {variable}"
            if any(name.startswith(variable + ENV_NESTED) for name in self.environment) and not self._holds(
                loc
            ):
                return f"environment, {variable}{ENV_NESTED}…"
        if self.file is not None and (self._holds(loc) or self._holds(loc[:1])):
            line = self.line(names)
            return f"{self.file}{f', line {line}' if line else ''}, {dotted(loc)}"
        return f"setting {dotted(loc)}"

    def _holds(self, loc: Loc) -> bool:
        value: Any = self.content
        for part in loc:
            try:
                value = value[part]
            except (LookupError, TypeError):
                return False
        return bool(loc)

    def line(self, names: Sequence[str]) -> int | None:
        """The line of a key, found by its section's header and its name; None if it is written otherwise."""
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


def explain(error: ValidationError, model: type[BaseModel], sources: Sources) -> list[str]:
    """One line for each fault."""
    return [
        f"{sources.place(each['loc'])}: {_what(each, model)}"
        for each in error.errors(include_url=False, include_context=True, include_input=True)
    ]


def unknown_key(model: type[BaseModel], loc: Loc) -> str:
    """The end of the sentence about an unknown key: the nearest valid names, if any is near."""
    names = all_names(model)
    here = [name for name in names if name.rpartition(".")[0] == dotted(loc[:-1])]
    last = str(loc[-1])
    by_last = {name.rpartition(".")[2]: name for name in here}
    near = [by_last[name] for name in difflib.get_close_matches(last, by_last, n=1, cutoff=0.6)]
    same = [name for name in names if name.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(dotted(loc), same, n=1, cutoff=0.75) or same
    near = near or difflib.get_close_matches(dotted(loc), names, n=1, cutoff=0.75)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    sections = [name for name in model.model_fields if _is_section(model, name)]
    where = dotted(loc[:-1])
    valid = [name.rpartition(".")[2] for name in here] or sections
    return f"; {where or 'the file'} has {', '.join(valid)}"


def all_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every setting and section below `model`, dotted."""
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


_WORDS: dict[str, str] = {
    "missing": "is missing",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must look like {pattern}",
    "too_short": "must have {min_length} or more entries",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be a text in quotes",
    "path_type": "must be a path in quotes",
    "tuple_type": "must be a list in brackets",
    "model_type": "must be a table, with a line for each setting",
    "dict_type": "must be a table, with a line for each setting",
}


def _what(each: ErrorDetails, model: type[BaseModel]) -> str:
    if each["type"] == "extra_forbidden":
        return "unknown" + unknown_key(model, each["loc"])
    if each["type"] == "value_error":
        return str(each["ctx"]["error"])
    context = each.get("ctx", {})
    if each["type"] not in _WORDS:
        return each["msg"][:1].lower() + each["msg"][1:]
    return _WORDS[each["type"]].format(**context) + _found(each, model)


def _found(each: ErrorDetails, model: type[BaseModel]) -> str:
    """What was found, unless it may be a secret or is too long to help."""
    value = each["input"]
    if _may_be_secret(each["loc"], model) or not isinstance(value, str | int | float):
        return ""
    shown = repr(value)
    return f", and is {shown}" if len(shown) <= 80 else ""  # noqa: PLR2004 (a line of a terminal)


def _may_be_secret(loc: Loc, model: type[BaseModel]) -> bool:
    annotation = (
        model.model_fields[str(loc[0])].annotation if loc and str(loc[0]) in model.model_fields else None
    )
    if isinstance(annotation, type) and issubclass(annotation, Section) and len(loc) > 1:
        return str(loc[1]).removesuffix(FILE_SUFFIX) in annotation.secrets()
    return False
