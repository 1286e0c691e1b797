"""What other people's SCIM testers find: scim2-tester's every check, and scim-sanity's strict probe.

They make up values by what `/Schemas` declares. What it cannot declare they are told here: what a date of
birth, a code or an INE looks like, and that a person whose names and birth date all change is another person.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import string
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from scim2_client.client import BaseSyncSCIMClient, RawResponse
from scim2_tester import check_server, filling
from scim2_tester.checkers import resource_put
from scim2_tester.utils import ResourceManager, Status
from scim_sanity.probe.runner import run_probe_api

from sandbox.ports import free_port
from tests.integration.api.api_kit import ApiWorld, api_world
from tests.integration.api.scim_in_kit import STUDENT, enrolment, registry_running
from tests.integration.api.test_scim_sends import GUARD

TEACHING = "urn:sesame:params:scim:schemas:1.0:TeachingGroup"
_PARTS = {
    "year": 2026,
    "step_version": "261",
    "step_label": "Licence 1",
    "component": "SCI",
    "main": True,
    "administrative": "in_force",
    "pedagogical": "validated",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    folder = tmp_path_factory.mktemp("scim")
    store = f"sqlite:///{folder / 'store.db'}"
    with api_world(folder, store, registrar=GUARD, port=free_port()) as made, registry_running(made.site):
        yield made


class _Client(BaseSyncSCIMClient):
    """The testers' client over ours."""

    def __init__(self, client: httpx.Client) -> None:
        super().__init__()
        self.client = client

    def _stays_under_base_url(self, endpoint: str) -> bool:
        return "://" not in endpoint or endpoint.startswith(str(self.client.base_url))

    def _parse_json(self, response: RawResponse) -> Any:
        answered: Any = response
        return answered.json()

    def request(self, method: str, url: str, **kwargs: Any) -> RawResponse:
        answered: Any = self.client.request(method, url, **kwargs)
        return answered  # type: ignore[no-any-return]


KNOWN_OF_TESTER = (
    # a group stays the one that it is: immutable (RFC 7643, 7) also where the whole extension is meant
    f"Group check_remove_attribute: ERROR Failed to remove attribute '{TEACHING}': 'teaching' is immutable",
)
"""What is found, and is so."""

KNOWN_OF_SANITY = {
    # it is made of the names, and read-only: what a PUT says of it is ignored (RFC 7644, 3.5.1)
    "GET /Users/{id} after PUT": "displayName",
    # it puts in `fake-member-id`, who is nobody: a member is the id of a resource (RFC 7643, 4.2)
    "PATCH /Groups/{id} add member": "400",
}
_last = {"number": ""}


def number() -> str:
    _last["number"] = f"2295{random.randrange(10_000):04}"  # noqa: S311
    return _last["number"]


def word() -> str:
    return "".join(random.choices(string.ascii_lowercase, k=10)).capitalize()  # noqa: S311


def made_up(path: Any) -> Any:
    """A value of an attribute whose form `/Schemas` cannot say; None: any will do."""
    name, binding = str(path), path.resolve()
    if name == STUDENT:
        steps = [{**_PARTS, "step": word()}]
        said = {"student_number": _last["number"], "birth_date": "2007-05-03", "enrolments": steps}
        return path.model(**said, stage="precreated")  # read-only, and compared
    kind: Any = binding.target_type if binding is not None else None
    known: dict[str, Callable[[], Any]] = {
        "name": lambda: kind(family_name=word(), given_name="Zoé"),
        "name.familyName": word,
        "name.givenName": lambda: "Zoé",
        "active": lambda: True,  # a hold would show in the extension, as what the tester did not send
        "teaching": lambda: kind(year=2026, unit="TESTS", group="TD1"),
        "teaching.year": lambda: 2026,
        "teaching.unit": lambda: "TESTS",
        "teaching.group": lambda: "TD1",
        "studentNumber": number,
        "birthDate": lambda: "2007-05-03",
        "ine": lambda: "".join(random.choices(string.digits, k=10)) + "X",  # noqa: S311
        "usageName": word,
        "preferredGivenName": word,
        "personalMail": lambda: f"{word()}@courriel.example",
        "mobile": lambda: "+33612345678",
        "enrolments": lambda: kind(step=word(), **_PARTS),
        "enrolments.year": lambda: 2026,
        "enrolments.step": word,
        "enrolments.stepVersion": lambda: "261",
        "enrolments.component": lambda: "SCI",
    }
    found = known.get(name.rpartition(":")[2])
    return None if found is None else found()


def test_scim2_tester_finds_nothing(world: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = filling.get_random_example_value
    monkeypatch.setattr(filling, "get_random_example_value", lambda path: made_up(path) or usual(path))

    def keeping(context: Any, obj: Any, **how: Any) -> Any:
        """It restores attributes that are immutable, but not those of extensions."""
        number = {
            each: getattr(obj[each], "student_number", None)
            for each in (*obj.get_extension_models().values(),)
        }
        filled = filling.fill_with_random_values(context, obj, **how)
        for extension, before in number.items():
            if before is not None:
                filled[extension].student_number = before
        return filled

    monkeypatch.setattr(resource_put, "fill_with_random_values", keeping)
    tidied = ResourceManager.cleanup

    def tidy_once(manager: ResourceManager) -> None:
        """It would remove what it has removed before, after each check again."""
        tidied(manager)
        manager.resources.clear()

    monkeypatch.setattr(ResourceManager, "cleanup", tidy_once)
    token = world.token("administrator")
    with httpx.Client(
        base_url=f"{world.url}/scim/v2",
        headers={"Authorization": f"Bearer {token}"},
        timeout=60.0,
        trust_env=False,
    ) as client:
        results = check_server(_Client(client))
    told = [
        f"{each.resource_type} {each.title}: {each.status.name} {each.reason} {each.data}"
        for each in results
        if each.status not in (Status.SUCCESS, Status.COMPLIANT, Status.ACCEPTABLE)
    ]
    bad = [each for each in told if not each.startswith(KNOWN_OF_TESTER)]
    assert bad == [], "\n".join(bad)
    assert len(results) > 50


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_lines_of_the_how_to_work(world: ApiWorld, tmp_path: Path) -> None:
    (tmp_path / "people.token").write_text(world.token("administrator"), encoding="ascii")
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "send-people-by-scim.md").read_text(
        encoding="utf-8"
    )
    lines = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    said = []
    for line in lines:
        asked = line.replace("https://sesame.univ-exemple.fr", world.url)
        done = subprocess.run(
            ["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said.append(json.loads(done.stdout or "{}"))
    made, found, _patched, _deleted, group = said
    assert (made["userName"], found["totalResults"]) == ("zoe.lefevre", 1)
    assert group["displayName"] == "Algorithmique, groupe 2"


def test_scim_sanity_finds_nothing(world: ApiWorld) -> None:
    student = {"studentNumber": "22960001", "birthDate": "2007-05-03", "enrolments": [enrolment()]}
    found = run_probe_api(
        f"{world.url}/scim/v2",
        token=world.token("administrator"),
        extra_user_fields={STUDENT: student},
        strict=True,
    )
    told = [each for each in found["results"] if each["status"].lower() not in ("pass", "skip")]
    bad = [each for each in told if KNOWN_OF_SANITY.get(each["name"], "nothing") not in each["message"]]
    assert bad == [], "\n".join(map(str, bad))
    assert found["summary"]["passed"] > 20
