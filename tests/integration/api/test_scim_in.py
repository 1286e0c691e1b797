"""SCIM over the registry: who is shown, by which filter, page by page, and to whom."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import anyio
import httpx
import pytest

from pipeline.errors import NotInstalled
from sesame.acts.acts import RIGHTS, Role
from sesame.app import console
from sesame.operations.people import known_persons
from sesame.operations.programs import registered_persons
from sesame.web.api.scim.scim_app import ACTS
from tests.integration.api.api_kit import COMPLETED, HOST, ApiWorld

STUDENT = "urn:sesame:params:scim:schemas:1.0:Student"
OFFICE = {"registrar", "operator", "administrator"}

SEARCHED = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]}

User = dict[str, Any]


@pytest.fixture(scope="module")
def world(module_world: ApiWorld) -> ApiWorld:
    return module_world


def get(world: ApiWorld, path: str, *scopes: str, status: int = 200, **options: Any) -> Any:
    answered = world.get(f"/scim/v2{path}", *scopes or ("person.look",), **options)
    assert answered.status_code == status, answered.text
    assert answered.headers["content-type"] == "application/scim+json"
    said: Any = answered.json() if answered.content else None
    if status >= 400:
        assert said["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
        assert said["status"] == str(status)
    return said


def everybody(world: ApiWorld) -> dict[str, User]:
    found = get(world, "/Users")["Resources"]
    return {each["id"]: each for each in found}


def test_a_person_is_shown_as_the_registry_has_them_and_the_login_is_the_ledger_s(world: ApiWorld) -> None:
    shown = get(world, f"/Users/{COMPLETED}")
    with world.site.database.read() as connection:
        side = known_persons.known(connection, world.site.database, COMPLETED)
    assert side is not None
    who = side.model_dump(mode="json")
    assert shown["id"] == shown[STUDENT]["studentNumber"] == COMPLETED
    assert (shown["userName"], shown["emails"][0]["value"]) == (who["login"], who["mail"])
    assert shown["name"] == {"familyName": who["birth_name"], "givenName": who["given_name"]}
    assert (shown[STUDENT]["birthDate"], shown[STUDENT]["ine"]) == (who["birth_date"], who["ine"])
    steps = [f"{one['year']} {one['step']} {one['component']}" for one in shown[STUDENT]["enrolments"]]
    assert steps == who["enrolments"]
    assert shown["active"] is True
    assert shown["meta"]["location"] == f"https://{HOST}/scim/v2/Users/{COMPLETED}"
    get(world, "/Users/22699999", status=404)


def test_a_list_shows_each_as_they_are_alone(world: ApiWorld) -> None:
    for number, listed in everybody(world).items():
        assert listed == get(world, f"/Users/{number}")


def test_what_did_not_change_is_not_sent_again(world: ApiWorld) -> None:
    tag = get(world, f"/Users/{COMPLETED}")["meta"]["version"]
    assert get(world, f"/Users/{COMPLETED}", headers={"If-None-Match": tag}, status=304) is None
    get(world, f"/Users/{COMPLETED}", headers={"If-None-Match": 'W/"other"'})


FILTERS: list[tuple[str, Callable[[User], bool]]] = [
    (f'id eq "{COMPLETED}"', lambda user: user["id"] == COMPLETED),
    ('userName eq "CORENTIN.barbier"', lambda user: user["userName"] == "corentin.barbier"),
    ('userName eq "22600001"', lambda _user: False),
    (
        'emails.value eq "corentin.barbier@etu.univ-exemple.fr"',
        lambda user: user["userName"] == "corentin.barbier",
    ),
    (
        'emails[type eq "work" and value eq "corentin.barbier@etu.univ-exemple.fr"]',
        lambda user: user["userName"] == "corentin.barbier",
    ),
    (
        'userName eq "corentin.barbier" and emails.value eq "younes.cherif@etu.univ-exemple.fr"',
        lambda _user: False,
    ),
    (
        'userName eq "corentin.barbier" or userName eq "younes.cherif"',
        lambda user: user["userName"] in ("corentin.barbier", "younes.cherif"),
    ),
    ('not (userName sw "a")', lambda user: not user["userName"].startswith("a")),
    ('name.familyName co "er"', lambda user: "er" in user["name"].get("familyName", "").lower()),
    (f'{STUDENT}:enrolments[component eq "SCI"]', lambda user: "SCI" in str(user[STUDENT]["enrolments"])),
    (f'{STUDENT}:stage eq "precreated"', lambda user: user[STUDENT]["stage"] == "precreated"),
    (f"{STUDENT}:holds pr", lambda user: "holds" in user[STUDENT]),
    ('meta.lastModified gt "2020-01-01T00:00:00Z"', lambda _user: True),
    ('userName eq "nobody"', lambda _user: False),
    (
        f'id eq "{COMPLETED}" or id eq "22600005" or id eq "none"',
        lambda user: user["id"] in (COMPLETED, "22600005"),
    ),
    ("active eq true", lambda user: user["active"]),
    ("active ne true", lambda user: not user["active"]),
    ("not (active eq false)", lambda user: user["active"]),
    (f'id eq "{COMPLETED}" or active eq false', lambda user: user["id"] == COMPLETED or not user["active"]),
    ('active eq true and userName sw "a"', lambda user: user["active"] and user["userName"][0] == "a"),
    (
        'active eq true and not (userName eq "corentin.barbier")',
        lambda user: user["active"] and user["id"] != COMPLETED,
    ),
    (
        'not (emails[type eq "home" and value eq "corentin.barbier@etu.univ-exemple.fr"])',
        lambda _user: True,
    ),
    (f'schemas eq "{STUDENT}"', lambda _user: True),
    ('schemas eq "urn:ietf:params:scim:schemas:core:2.0:Group"', lambda _user: False),
    ('externalId eq "none" or meta.lastModified lt "2020-01-01T00:00:00Z"', lambda _user: False),
]


@pytest.mark.parametrize(("wanted", "fits"), FILTERS, ids=[wanted for wanted, _ in FILTERS])
def test_a_filter_shows_whom_it_fits(wanted: str, fits: Callable[[User], bool], world: ApiWorld) -> None:
    expected = [number for number, user in everybody(world).items() if fits(user)]
    found = get(world, "/Users", params={"filter": wanted})
    assert [each["id"] for each in found.get("Resources", [])] == expected
    assert found["totalResults"] == len(expected)
    by_body = world.post(
        "/scim/v2/Users/.search",
        "person.look",
        json={
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
            "filter": wanted,
            "count": 1,
        },
    ).json()
    assert (by_body["totalResults"], len(by_body.get("Resources", []))) == (len(expected), bool(expected))


@pytest.mark.parametrize("op", ["gt", "ge", "lt", "le", "eq", "ne"])
def test_a_time_is_compared_as_it_is_shown(op: str, world: ApiWorld) -> None:
    shown = {number: user["meta"]["lastModified"] for number, user in everybody(world).items()}
    edge = datetime.fromisoformat(sorted(shown.values())[len(shown) // 2])
    compared = getattr(operator, op)
    expected = [number for number, at in shown.items() if compared(datetime.fromisoformat(at), edge)]
    local = edge.astimezone(timezone(timedelta(hours=5, minutes=30)))
    for written in (edge.isoformat(), local.isoformat()):
        found = get(world, "/Users", params={"filter": f'meta.lastModified {op} "{written}"'})
        assert [each["id"] for each in found.get("Resources", [])] == expected


DATABASE_ALONE = [
    f'id eq "{COMPLETED}" or id eq "22600005"',
    f'not (id eq "{COMPLETED}") and active eq true',
    f'schemas eq "{STUDENT}" and externalId eq "none"',
    'active eq false or meta.lastModified gt "2020-01-01T00:00:00Z"',
]


def test_where_the_database_answers_all_of_a_filter_nobody_is_compared(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registered_persons, "COMPARED_MAX", 0)
    for wanted in DATABASE_ALONE:
        get(world, "/Users", params={"filter": wanted})
        get(world, "/Users", params={"filter": wanted, "sortBy": "name.familyName"})
    get(world, "/Users", params={"filter": 'userName co "e"'}, status=400)


SORTS: dict[str, Callable[[User], str | None]] = {
    "id": lambda user: user["id"],
    "userName": lambda user: user["userName"],
    f"{STUDENT}:studentNumber": lambda user: user["id"],
    "name.familyName": lambda user: user["name"].get("familyName", ""),
    "meta.lastModified": lambda user: user["meta"]["lastModified"],
    "externalId": lambda user: user.get("externalId"),
}


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("by", SORTS)
def test_users_are_sorted_whichever_way_they_are_paged(by: str, order: str, world: ApiWorld) -> None:
    params = {"sortBy": by, "sortOrder": order}
    users = everybody(world)
    found = [each["id"] for each in get(world, "/Users", params=params)["Resources"]]
    assert sorted(found) == sorted(users)
    values = [SORTS[by](users[number]) for number in found]
    if order == "descending":
        values.reverse()
    have = [value for value in values if value is not None]
    assert values[: len(have)] == have  # who has none is last
    if by == "name.familyName":  # letters with accents are sorted as the database sorts them
        have = [value.lower() for value in have if value.isascii() and value.isalpha()]
    assert have == sorted(have)
    by_index = [
        each["id"]
        for start in range(1, len(found) + 1, 4)
        for each in get(world, "/Users", params={**params, "startIndex": start, "count": 4})["Resources"]
    ]
    assert by_index == found
    cursor, by_cursor = "", list[str]()
    while cursor or not by_cursor:
        page = get(world, "/Users", params={**params, "cursor": cursor, "count": 4})
        by_cursor += [each["id"] for each in page["Resources"]]
        cursor = page.get("nextCursor", "")
    assert by_cursor == found
    some = get(world, "/Users", params={**params, "filter": 'not (name.familyName co "er")'})["Resources"]
    assert [each["id"] for each in some] == [
        number for number in found if "er" not in users[number]["name"].get("familyName", "").lower()
    ]


def test_groups_are_sorted_and_users_and_groups_together_are_not(world: ApiWorld) -> None:
    group = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"]}
    made = [
        world.post("/scim/v2/Groups", json=group | {"displayName": name}).json()["id"]
        for name in ("SORT2", "sort3", "SORT1")
    ]
    for order in ("ascending", "descending"):
        params = {"sortBy": "displayName", "sortOrder": order}
        found = get(world, "/Groups", "group.look", params=params)["Resources"]
        names = [each["displayName"] for each in found if each["displayName"].upper().startswith("SORT")]
        assert names == (["SORT1", "SORT2", "sort3"] if order == "ascending" else ["sort3", "SORT2", "SORT1"])
        pages = [
            get(world, "/Groups", "group.look", params={**params, "startIndex": n + 1, "count": 1})
            for n in range(len(found))
        ]
        assert [page["Resources"] for page in pages] == [[each] for each in found]
    get(world, "/", "person.look", "group.look", params={"sortBy": "id"}, status=501)
    for each in made:
        assert world.ask("DELETE", f"/scim/v2/Groups/{each}").status_code == 204


def test_a_filter_of_too_many_comparisons_is_refused(world: ApiWorld) -> None:
    keys = [f'id eq "{number}"' for number in range(100)]
    get(world, "/Users", params={"filter": " or ".join(keys)})
    for too_much in ([*keys, "active pr"], [f'id eq "{"9" * 1_000}"'] * 21):
        answered = world.post("/scim/v2/.search", json=SEARCHED | {"filter": " or ".join(too_much)})
        assert (answered.status_code, answered.json()["scimType"]) == (400, "invalidFilter")


def test_equalities_are_answered_by_an_index_and_not_by_comparing_everybody(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registered_persons, "COMPARED_MAX", 3)
    for wanted, _fits in FILTERS[:6]:
        get(world, "/Users", params={"filter": wanted})
    monkeypatch.setattr(registered_persons, "_PAGE", 3)
    refused = get(world, "/Users", params={"filter": 'userName co "e"'}, status=400)
    assert refused["scimType"] == "tooMany"


@pytest.mark.parametrize("wanted", [None, 'not (name.familyName co "er")'])
def test_pages_show_everybody_once_whichever_way(
    wanted: str | None, world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    params: dict[str, Any] = {} if wanted is None else {"filter": wanted}
    expected = [each["id"] for each in get(world, "/Users", params=params)["Resources"]]
    assert len(expected) > 10
    by_index: list[str] = []
    for start in range(1, len(expected) + 1, 4):
        page = get(world, "/Users", params={**params, "startIndex": start, "count": 4})
        assert page["totalResults"] == len(expected)
        by_index += [each["id"] for each in page["Resources"]]
    assert by_index == expected
    monkeypatch.setattr(registered_persons, "COMPARED_MAX", 5)  # so that a page may end before it is full
    monkeypatch.setattr(registered_persons, "_PAGE", 5)
    by_cursor: list[str] = []
    cursor = ""
    for _ in range(30):
        page = get(world, "/Users", params={**params, "cursor": cursor, "count": 4})
        by_cursor += [each["id"] for each in page.get("Resources", [])]
        cursor = page.get("nextCursor", "")
        if not cursor:
            break
    assert by_cursor == expected


def test_a_search_at_the_root_shows_users_then_groups_and_only_who_may_see_which(world: ApiWorld) -> None:
    group = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "ROOT1"}
    made = world.post("/scim/v2/Groups", json=group).json()["id"]
    users = list(everybody(world))
    both = ("person.look", "group.look")

    def found(*scopes: str, **params: Any) -> tuple[list[str], Any]:
        page = get(world, "/", *scopes or both, params=params)
        return [each["id"] for each in page.get("Resources", [])], page

    shown, page = found()
    assert (shown, page["totalResults"]) == ([*users, made], len(users) + 1)
    assert found("group.look")[0] == [made]
    assert found("person.look")[0] == users
    get(world, "/", "import", status=403)
    at = len(users)
    for start, count, expected in ((at, 2, [users[-1], made]), (at + 1, 1, [made]), (at + 2, 1, [])):
        shown, page = found(startIndex=start, count=count)
        assert (shown, page["totalResults"]) == (expected, at + 1)
    for count in (1, 4, at, at + 1):
        by_cursor: list[str] = []
        cursor = ""
        for _ in range(at + 2):
            shown, page = found(cursor=cursor, count=count)
            by_cursor += shown
            cursor = page.get("nextCursor", "")
            if not cursor:
                break
        assert by_cursor == [*users, made], count
    over = found(cursor="", count=at)[1]["nextCursor"]
    get(world, "/", "person.look", params={"cursor": over, "count": at}, status=400)
    for wanted, expected in (
        ('userName eq "corentin.barbier" or displayName eq "ROOT1"', [COMPLETED, made]),
        ('meta.resourceType eq "Group"', [made]),
        ('displayName eq "root1"', [made]),
        (f'id eq "{COMPLETED}"', [COMPLETED]),
    ):
        assert found(filter=wanted)[0] == expected, wanted
        search = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": wanted}
        by_body = world.post("/scim/v2/.search", *both, json=search).json()
        assert [each["id"] for each in by_body["Resources"]] == expected, wanted


def test_a_cursor_that_was_changed_or_is_another_search_s_is_refused(world: ApiWorld) -> None:
    cursor = get(world, "/Users", params={"cursor": "", "count": 2})["nextCursor"]
    changed = cursor[:-3] + ("AAA" if cursor[-3:] != "AAA" else "BBB")
    refused = get(world, "/Users", params={"cursor": changed, "count": 2}, status=400)
    assert refused["scimType"] == "invalidCursor"
    other = {"cursor": cursor, "count": 2, "filter": 'userName sw "a"'}
    assert get(world, "/Users", params=other, status=400)["scimType"] == "invalidCursor"


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/Users?filter=userName%20eq", 400, "invalidFilter"),
        ("/Users?filter=shoeSize%20eq%20%2242%22", 400, "invalidFilter"),
        ("/Users?sortBy=emails.type", 400, "invalidPath"),
        ("/Users?filter=userName%20eq%20%22a%00%22", 400, "invalidValue"),
        ("/Nothing", 404, None),
        ("/Users/1/2", 404, None),
        ("/Me", 501, None),
        ("/Schemas?filter=id%20pr", 403, None),
    ],
)
def test_what_cannot_be_answered_is_refused_in_scim_s_words(
    path: str, status: int, kind: str | None, world: ApiWorld
) -> None:
    assert get(world, path, status=status).get("scimType") == kind


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
def test_only_what_is_asked_for_is_sent(world: ApiWorld) -> None:
    assert set(get(world, f"/Users/{COMPLETED}?attributes=userName")) == {"schemas", "id", "userName"}
    assert "emails" not in get(world, f"/Users/{COMPLETED}?excludedAttributes=emails")


def test_who_may_look_is_written_here_once_more_and_every_look_is_in_the_audit(world: ApiWorld) -> None:
    for role in Role:
        may = role in OFFICE
        get(world, f"/Users/{COMPLETED}", role, status=200 if may else 403)
        get(world, "/Users", role, status=200 if may else 403)
    get(world, "/Users", "import", status=403)
    looks = [each for each in world.get("/audit").json() if each["action"] == "person.look"]
    one = {"count": 1, "student_numbers": [COMPLETED]}
    assert [each["detail"] for each in looks][:2] == [{"count": len(everybody(world))}, one]


MAY = {
    ("GET", "/"): OFFICE,
    ("POST", "/.search"): OFFICE,
    ("GET", "/Users"): OFFICE,
    ("POST", "/Users/.search"): OFFICE,
    ("GET", "/Users/22699999"): OFFICE,
    ("POST", "/Users"): OFFICE,
    ("PUT", "/Users/22699999"): OFFICE,
    ("PATCH", "/Users/22699999"): OFFICE,
    ("DELETE", "/Users/22699999"): OFFICE,
    ("GET", "/Groups"): OFFICE,
    ("POST", "/Groups/.search"): OFFICE,
    ("GET", "/Groups/none"): OFFICE,
    ("POST", "/Groups"): OFFICE,
    ("PUT", "/Groups/none"): OFFICE,
    ("PATCH", "/Groups/none"): OFFICE,
    ("DELETE", "/Groups/none"): OFFICE,
    ("POST", "/Bulk"): {str(role) for role in Role},  # of which each operation is judged by itself
    ("GET", "/Schemas"): {str(role) for role in Role},
    ("GET", "/ResourceTypes"): {str(role) for role in Role},
    ("GET", "/ServiceProviderConfig"): {str(role) for role in Role},
}


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("method", "path"), MAY)
def test_a_route_lets_in_the_roles_that_the_table_names_and_nobody_else(
    method: str, path: str, world: ApiWorld
) -> None:
    let_in = set()
    for role in Role:
        body: Any = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": []}
        answered = world.ask(method, f"/scim/v2{path}", role, json=None if method == "GET" else body)
        assert answered.status_code not in (401, 429, 500), answered.text
        let_in |= {str(role)} if answered.status_code != 403 else set()
    assert let_in == MAY[method, path]


def test_the_table_has_every_operation_of_every_type(world: ApiWorld) -> None:
    types = {each["endpoint"] for each in get(world, "/ResourceTypes")["Resources"]}
    assert types == {"/Users", "/Groups"}
    assert set(ACTS.values()) <= set(RIGHTS)
    assert {kind for kind, _ in ACTS} == {"User", "Group"}


def test_without_a_token_in_force_and_over_the_rate_nobody_is_answered(world: ApiWorld) -> None:
    for path in ("/Users", "/ServiceProviderConfig", "/Schemas", "/ResourceTypes"):
        refused = world.client.get(f"/scim/v2{path}")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        get(world, path, token="sesame_no_such", status=401)
    assert world.client.get("/scim/v2/Users", headers={"Host": "elsewhere.example"}).status_code == 421


def test_without_its_extra_the_rest_is_served_and_it_says_what_to_install(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise NotInstalled("scim")

    monkeypatch.setattr("sesame.web.api.scim.make_scim", missing)
    served = httpx.ASGITransport(console.make_app(world.site, None))

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=served, base_url=f"https://{HOST}") as client:
            return [await client.get(path) for path in ("/scim/v2/Users", "/livez", "/v1/overview")]

    users, alive, overview = anyio.run(ask)
    assert (users.status_code, alive.status_code, overview.status_code) == (501, 200, 401)
    assert "pip install 'scim2-models==" in users.text
