"""Which roles released attributes give: compared as a directory would, and never by a part of a value."""

from __future__ import annotations

import pytest

from sesame.login.port import Validated
from sesame.login.roles import roles_of

GROUP = "cn=Sesame-Operators,ou=groups,dc=univ,dc=fr"
RULES = {
    "operator": (f"memberOf={GROUP}", "employeeType=sysadmin"),
    "support": ("eduPersonAffiliation=employee",),
    "viewer": (),
}


@pytest.mark.parametrize(
    ("released", "roles"),
    [
        ({}, set()),
        ({"memberOf": (GROUP,)}, {"operator"}),
        ({"memberOf": ("cn=others,dc=fr", GROUP)}, {"operator"}),
        ({"memberof": ("CN=sesame-operators, OU=groups, DC=univ, DC=fr",)}, {"operator"}),
        ({"employeeType": ("sysadmin",), "eduPersonAffiliation": ("employee",)}, {"operator", "support"}),
        ({"memberOf": (f"{GROUP}x",)}, set()),
        ({"memberOf": (f"x{GROUP}",)}, set()),
        ({"memberOf": ("cn=Sesame-Operators",)}, set()),
        ({"title": (GROUP,)}, set()),
        ({"eduPersonAffiliation": ("employee,student",)}, set()),
        ({"eduPersonAffiliation": ("",)}, set()),
        ({"eduPersonAffiliation": (" Employee ",)}, {"support"}),
    ],
)
def test_a_role_takes_one_whole_value_of_that_attribute(
    released: dict[str, tuple[str, ...]], roles: set[str]
) -> None:
    assert roles_of(RULES, Validated("ada", released)) == roles
