"""The description of the API is valid, and has an example of each operation that fits it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from sesame.web.api import examples
from tests.integration.api.api_kit import ApiWorld

ANSWERS: Final = Path(examples.__file__).with_name("examples.json")


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    page = Path(__file__).parents[3] / "docs" / "reference" / "openapi.json"
    document: dict[str, Any] = json.loads(page.read_text("utf-8"))
    return document


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, each) for path, all_ in document["paths"].items() for method, each in all_.items()]


def fits(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> None:
    whole = {**schema, "components": document["components"]}
    jsonschema_rs.Draft202012Validator(whole, validate_formats=True).validate(value)


def test_it_is_valid_and_declares_what_its_paths_name(described: dict[str, Any]) -> None:
    OPENAPI_31_VALIDATOR.validate(described)
    names: list[str] = []
    for _, path, operation in operations(described):
        named = set(re.findall(r"\{(\w+)\}", path))
        declared = [each for each in operation.get("parameters", ()) if each["in"] == "path"]
        assert {each["name"] for each in declared} == named, path
        assert all(each["required"] for each in declared)
        names.append(operation["operationId"])
        kinds = [(each["in"], each["name"]) for each in operation.get("parameters", ())]
        assert len(kinds) == len(set(kinds)), path
    assert len(names) == len(set(names))
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9 ]+", described["info"]["title"]), "a client is named after it"
    for schema in described["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema | {"$schema": "https://json-schema.org/draft/2020-12/schema"})


def test_each_operation_has_an_example_that_fits(described: dict[str, Any]) -> None:
    for _, path, operation in operations(described):
        found = 0
        for each in operation.get("parameters", ()):
            if "example" in each:
                fits(each["example"], each["schema"], described)
                found += 1
        bodies = [operation.get("requestBody", {})]
        bodies += [each for status, each in operation["responses"].items() if status.startswith("2")]
        for body in bodies:
            for media, content in body.get("content", {}).items():
                if "example" in content:
                    if media == "application/json":
                        fits(content["example"], content["schema"], described)
                    found += 1
        assert found, path
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            assert "example" in operation["requestBody"]["content"]["application/json"], path
        for each in operation.get("parameters", ()):
            assert each["in"] != "path" or "example" in each, path


def test_an_example_of_a_body_is_taken(world: ApiWorld, described: dict[str, Any]) -> None:
    """It may be about nobody here, and never of a wrong form."""
    seen = 0
    for method, path, operation in operations(described):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" not in content or operation.get("security") == []:
            continue
        filled = path.format_map({each: str(value) for each, value in examples.PLACES.items()})
        answered = world.ask(method, filled, json=content["example"])
        assert answered.status_code not in (400, 403, 405, 413, 415, 500), f"{path}: {answered.text}"
        wrong = answered.json() if answered.status_code == 422 else {"type": ""}
        kind = wrong["type"].rpartition(":")[2]
        assert kind in ("", "NotInvited", "NotProlonged", "NothingSelected"), f"{path}: {answered.text}"
        seen += answered.is_success
    assert seen > 8


def test_numbers_consumers_and_rules_have_a_form(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    for name, property_name in (
        ("HoldChangeRequest", "student_number"),
        ("ProvisionRequest", "student_number"),
        ("QuarantineLift", "consumer"),
        ("TargetRequest", "target"),
        ("SettleRequest", "rule"),
    ):
        assert "pattern" in schemas[name]["properties"][property_name], name
    assert "pattern" in schemas["ReplayRequest"]["properties"]["students"]["items"]
    assert "pattern" in schemas["ReconcileRequest"]["properties"]["targets"]["items"]


def test_what_programs_must_know_is_said_where_they_read(described: dict[str, Any]) -> None:
    said = described["info"]["description"]
    for word in ("409", "422", "429", "not known", "activation", "one_name", "SCIM", "Retry-After"):
        assert word in said, word


@pytest.mark.skipif(os.environ.get("EXAMPLES") != "record", reason="records answers: EXAMPLES=record")
@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_answers_are_recorded(world: ApiWorld, described: dict[str, Any]) -> None:
    told: dict[str, Any] = {}
    for method, path, operation in operations(described):
        if method == "get" and "{" not in path and path != "/completions":
            answered = world.get(path)
            is_json = answered.headers["content-type"].startswith("application/json")
            told[operation["operationId"]] = short(answered.json()) if is_json else answered.text[:400]
    told["stream_completions"] = (
        "event: fr.sesame.propagation.completed.v1\nid: 0:1712,1:1689\n"
        'data: {"student_number": "22600005", "version": 3, "elapsed_s": 41.2}\n\n'
    )
    ANSWERS.write_text(json.dumps(told, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
    assert len(told) > 15


def short(value: Any) -> Any:
    """The first of each list."""
    if isinstance(value, list):
        return [short(each) for each in value[:1]]
    return {name: short(each) for name, each in value.items()} if isinstance(value, dict) else value
