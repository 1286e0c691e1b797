"""JSON Schema 2020-12 of an event's data, generated from its typed model.

The schemas use only keywords that mean the same in draft-07 (which AsyncAPI's own schema format extends), so
that tools of either age read them alike. They are open to fields that they do not know, so that a newer
writer and an older reader agree.
"""

from __future__ import annotations

import inspect
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from schemas.account import Model
from schemas.events import Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ID_PREFIX = "urn:sesame:event:"


class _Generator(GenerateJsonSchema):
    """Pydantic's generator: no titles that repeat a field's name, strict about keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Refuse other keys than constrained ones; `patternProperties` would take them."""
        written = super().dict_schema(schema)
        patterns = written.pop("patternProperties", {})
        for pattern, values in patterns.items():
            written["propertyNames"] = {"pattern": pattern}
            written["additionalProperties"] = values
        return written


def file_name(model: type[Event]) -> str:
    """The name of the schema's file."""
    return f"{model.type}.schema.json"


def schema_of(model: type[Event]) -> dict[str, Any]:
    """The JSON Schema of the event's data."""
    comment = f"Data of the CloudEvents type {model.type}; the record's key is its student_number."
    return document_schema(model, ID_PREFIX + model.type, comment)


def document_schema(model: type[Model], identity: str, comment: str) -> dict[str, Any]:
    """The JSON Schema of a document. `identity`: its `$id`."""
    generated = model.model_json_schema(mode="validation", schema_generator=_Generator)
    head = {
        "$schema": DIALECT,
        "$id": identity,
        "$comment": comment,
        "title": model.__name__,
        "description": " ".join(inspect.cleandoc(model.__doc__ or "").split()),
        "type": "object",
    }
    generated |= head
    order = [*head, *(key for key in generated if key not in head and key != "$defs"), "$defs"]
    return {key: generated[key] for key in order if key in generated}
