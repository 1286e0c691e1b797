"""The JSON Schemas, the typed models and the examples agree; what is generated is current."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas import asyncapi, catalogue, generate, reference
from schemas.events import EVENT_TYPES, Event, PropagationCompleted, TargetWaiting
from schemas.json_schema import file_name, schema_of

ROOT = generate.ROOT
EXAMPLES = ROOT / "schemas" / "examples"
MODELS = list(EVENT_TYPES.values())
VALIDATORS = {
    model.type: jsonschema_rs.Draft202012Validator(schema_of(model), validate_formats=True)
    for model in MODELS
}
VALID = sorted(EXAMPLES.glob("*/valid-*.json"))
INVALID = sorted(EXAMPLES.glob("*/invalid-*.json"))


def name_of(item: Path | type[Event]) -> str:
    return f"{item.parent.name}/{item.stem}" if isinstance(item, Path) else item.type


def fits(model: type[Event], text: str) -> bool:
    try:
        model.from_json(text)
    except ValidationError:
        return False
    return True


# --- examples ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_every_event_has_examples_that_fit_and_examples_that_do_not(model: type[Event]) -> None:
    folder = EXAMPLES / model.type
    assert len(list(folder.glob("valid-*.json"))) >= 2
    assert len(list(folder.glob("invalid-*.json"))) >= 3
    assert {path.name.partition("-")[0] for path in folder.iterdir()} == {"valid", "invalid"}


def test_there_are_examples_of_known_events_only() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == set(EVENT_TYPES)


@pytest.mark.parametrize("path", VALID, ids=name_of)
def test_a_valid_example_fits_its_schema_and_its_model(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    model = EVENT_TYPES[path.parent.name]
    VALIDATORS[model.type].validate(json.loads(text))
    event = model.from_json(text)
    assert model.from_json(event.model_dump_json(exclude_none=True)) == event


@pytest.mark.parametrize("path", INVALID, ids=name_of)
def test_an_invalid_example_fails_for_the_one_reason_that_its_name_says(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    model = EVENT_TYPES[path.parent.name]
    story = path.stem.removeprefix("invalid-")
    told = list(VALIDATORS[model.type].iter_errors(json.loads(text)))
    (where,) = {tuple(error.instance_path) or (error.message,) for error in told}
    with pytest.raises(ValidationError) as refused:
        model.from_json(text)
    (modelled,) = refused.value.errors()
    fields = {field for field in model.model_fields if story.startswith(field.replace("_", "-"))}
    assert fields, "the name begins with the field that is wrong"
    assert any(field in str(where[0]) for field in fields)
    assert modelled["loc"] == () or modelled["loc"][0] in fields
    assert story.endswith("-missing") == ("is a required property" in told[0].message)
    assert story.endswith("-missing") == (modelled["type"] == "missing")


# --- schemas ----------------------------------------------------------------------------------------------


def keywords(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every keyword of a schema and its subschemas, with the subschema that it stands in."""
    for key, value in schema.items():
        yield key, schema
        if key in ("properties", "$defs"):
            for part in value.values():
                yield from keywords(part)
        elif key in ("items", "additionalProperties", "propertyNames", "if", "then", "else"):
            yield from keywords(value)
        elif key == "anyOf":
            for part in value:
                yield from keywords(part)


SAME_IN_DRAFT_07 = {
    *("$schema", "$id", "$comment", "$ref", "$defs", "title", "description", "default"),
    *("type", "properties", "required", "items", "enum", "const", "additionalProperties", "propertyNames"),
    *("minimum", "maximum", "minLength", "maxLength", "pattern", "format", "anyOf", "if", "then", "else"),
    "maxItems",
}


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_a_schema_means_the_same_to_tools_of_draft_07_and_of_2020_12(model: type[Event]) -> None:
    found = list(keywords(schema_of(model)))
    assert {key for key, _ in found} <= SAME_IN_DRAFT_07
    for key, around in found:
        if key == "$ref":  # draft-07 ignores what stands beside a reference
            assert set(around) <= {"$ref", "description", "default"}
            assert around["$ref"].startswith("#/$defs/")


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_a_schema_says_what_it_is_and_explains_every_field(model: type[Event]) -> None:
    schema = schema_of(model)
    jsonschema_rs.meta.validate(schema)
    assert schema["$id"].endswith(model.type)
    assert model.type in schema["$comment"]
    assert schema["title"]
    assert len(schema["description"]) > 10
    assert all(field["description"].endswith(".") for field in schema["properties"].values())
    assert "student_number" in schema["required"]


def test_every_identifier_is_unique() -> None:
    assert len({schema_of(model)["$id"] for model in MODELS}) == len(MODELS)


def test_every_event_type_travels_on_a_topic_and_says_its_version() -> None:
    travelling = {model for topic in catalogue.TOPICS.values() for model in topic.types}
    assert travelling == set(MODELS)
    assert all(name.rpartition(".v")[2].isdigit() for name in EVENT_TYPES)


# --- agreement of model and schema ------------------------------------------------------------------------

AWKWARD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from(
        [2**53 - 1, 2**53, -(2**63), 3.0, 3.5, -0.0, 1e300, 2100, 2101, 1990, 1e9, 1_000_000_001]
    ),
    st.sampled_from(
        [
            "",
            " ",
            "3",
            "true",
            "active",
            "personal",
            "suspended",
            "fr",
            "L1INFO",
            "a\nb",
            "a\n",
            "\x00",
            "é" * 512,
            "\U0001f600" * 512,
            "x" * 513,
            "2026-09-01",
            "2026-9-1",
            "2026-02-29",
            "0000-01-01",
            "20260901",
            "2026-W36-2",
            "2026-09-01T08:30:00Z",
            "2026-09-01t08:30:00z",
            "2026-09-01T08:30:00.123456789Z",
            "2026-09-01T24:00:00Z",
            "2026-09-01T23:59:60Z",
            "2026-09-01T08:30:00+0200",
            "2026-09-01T08:30:00-00:00",
            "2026-09-01T08:30:00+23:59",
            "2026-02-30T08:30:00Z",
            "٢٠٢٦-09-01",
            "sha256:" + "0" * 64,
        ]
    ),
    st.text(max_size=5),
    st.lists(st.sampled_from(["suspended", "moodle", "", 1, None]), max_size=2),
    st.dictionaries(
        st.sampled_from(["moodle", "Moodle", ""]), st.sampled_from([1, -1, "1", None]), max_size=2
    ),
)


@st.composite
def almost(draw: st.DrawFn) -> tuple[type[Event], dict[str, Any]]:
    """A valid example with up to two fields changed, left out or added."""
    path = draw(st.sampled_from(VALID))
    model = EVENT_TYPES[path.parent.name]
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for field in draw(st.lists(st.sampled_from([*model.model_fields, "unknown"]), max_size=2)):
        if draw(st.booleans()):
            data[field] = draw(AWKWARD)
        else:
            data.pop(field, None)
    return model, data


@given(almost())
def test_schema_and_model_accept_and_refuse_the_same(case: tuple[type[Event], dict[str, Any]]) -> None:
    model, data = case
    text = json.dumps(data)
    assert VALIDATORS[model.type].is_valid(json.loads(text)) == fits(model, text)


MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(MOMENTS, st.floats(0, 1e9), st.floats(0, 1e9))
def test_what_is_written_always_fits_the_schema(moment: datetime, elapsed: float, waited: float) -> None:
    event = PropagationCompleted(
        student_number="22604711",
        version=1,
        lane="bulk",
        window="bulk",
        opened_at=moment,
        completed_at=moment,
        elapsed_s=elapsed,
        waited_s=waited,
        targets_s={"moodle": elapsed},
    )
    written = event.model_dump_json(exclude_none=True)
    VALIDATORS[event.type].validate(json.loads(written))
    assert PropagationCompleted.from_json(written) == event


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_a_number_that_is_none_is_refused(number: str) -> None:
    path = EXAMPLES / PropagationCompleted.type / "valid-within-15-minutes.json"
    text = path.read_text(encoding="utf-8")
    assert fits(PropagationCompleted, text)
    assert not fits(PropagationCompleted, text.replace('"elapsed_s": 4.5', f'"elapsed_s": {number}'))


# --- generated files --------------------------------------------------------------------------------------


def test_what_is_generated_is_current() -> None:
    assert generate.stale(generate.outputs()) == []


def test_check_tells_what_is_missing_what_differs_and_what_should_not_be_there(tmp_path: Path) -> None:
    made = {tmp_path / path.relative_to(ROOT): text for path, text in generate.outputs().items()}
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert generate.stale(made, tmp_path) == []
    folder = tmp_path / "schemas" / "json"
    (folder / file_name(TargetWaiting)).unlink()
    (folder / file_name(PropagationCompleted)).write_text("{}", encoding="utf-8")
    (folder / "fr.sesame.forgotten.v1.schema.json").write_text("{}", encoding="utf-8")
    assert generate.stale(made, tmp_path) == [
        f"missing: schemas/json/{file_name(TargetWaiting)}",
        f"differs: schemas/json/{file_name(PropagationCompleted)}",
        "of no event: schemas/json/fr.sesame.forgotten.v1.schema.json",
    ]


def test_the_asyncapi_document_reads_back_as_it_was_meant() -> None:
    written = yaml.safe_load((ROOT / "schemas" / "asyncapi.yaml").read_text(encoding="utf-8"))
    assert written == asyncapi.document(EXAMPLES)
    assert set(written["channels"]) == set(catalogue.TOPICS)


def test_every_type_has_a_publisher_and_a_reader() -> None:
    topics = catalogue.TOPICS
    published = {
        model
        for component in asyncapi.COMPONENTS
        for topic in component.publishes
        for model in component.only or topics[topic].types
    }
    assert published == set(MODELS)
    for component in asyncapi.COMPONENTS:
        assert set(component.only) <= {each for topic in component.publishes for each in topics[topic].types}


def test_the_reference_page_names_every_topic_type_and_field() -> None:
    page = reference.page()
    for topic in catalogue.TOPICS:
        assert f"| `{topic}` |" in page
    for model in MODELS:
        assert f"CloudEvents type `{model.type}`" in page
        assert all(f"| `{field}` |" in page for field in model.model_fields)
