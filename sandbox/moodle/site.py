"""`core_webservice_get_site_info`: the caller, the site, and the functions."""

from __future__ import annotations

from typing import Any, Final

from sandbox.moodle.call import Call, Function
from sandbox.moodle.params import Multiple, Single, Value

_ADVANCED_FEATURES: Final = {
    "usecomments": 1, "usetags": 1, "enablenotes": 1, "messaging": 1, "enableblogs": 1, "enablecompletion": 1,
    "enablebadges": 1, "messagingallusers": 0, "enablecustomreports": 1, "enableglobalsearch": 0,
    "enablemobilewebservice": 0, "enableanalytics": 1,
}  # fmt: skip

SERVICE_FUNCTIONS: Final = (
    "core_webservice_get_site_info", "core_user_create_users", "core_user_update_users",
    "core_user_get_users_by_field", "core_user_get_users", "core_user_delete_users",
    "core_cohort_create_cohorts", "core_cohort_search_cohorts", "core_cohort_get_cohorts",
    "core_cohort_add_cohort_members",
    "core_cohort_delete_cohort_members", "core_cohort_get_cohort_members", "core_cohort_update_cohorts",
    "core_cohort_delete_cohorts",
)  # fmt: skip
"""The external service's functions, in the site's order."""


def get_site_info(call: Call, _params: dict[str, Any]) -> object:
    """Describe the site to the caller."""
    call.work(1, writing=False)
    conditions, caller = call.conditions, call.caller
    key = call.db.execute("SELECT value FROM config WHERE name = 'userprivateaccesskey'").fetchone()["value"]
    picture = f"{conditions.site_url}/theme/image.php/boost/core/{call.state.theme_revision}/u/f1"
    return {
        "sitename": conditions.site_name,
        "username": caller["username"],
        "firstname": caller["firstname"],
        "lastname": caller["lastname"],
        "fullname": f"{caller['firstname']} {caller['lastname']}",
        "lang": caller["lang"],
        "userid": caller["id"],
        "siteurl": conditions.site_url,
        "userpictureurl": picture,
        "functions": [{"name": name, "version": conditions.version} for name in SERVICE_FUNCTIONS],
        "downloadfiles": 0,
        "uploadfiles": 0,
        "release": "4.5.6 (Build: 20250811)",
        "version": conditions.version,
        "mobilecssurl": "",
        "advancedfeatures": [{"name": name, "value": value} for name, value in _ADVANCED_FEATURES.items()],
        "usercanmanageownfiles": True,
        "userquota": 100 * 1024 * 1024,
        "usermaxuploadfilesize": conditions.post_max_size_bytes,
        "userhomepage": 1,
        "userprivateaccesskey": key,
        "siteid": 1,
        "sitecalendartype": "gregorian",
        "usercalendartype": caller["calendartype"],
        "userissiteadmin": False,
        "theme": "boost",
        "limitconcurrentlogins": 0,
        "policyagreed": 0,
    }


FUNCTIONS: Final = {
    "core_webservice_get_site_info": Function(
        Single({"serviceshortnames": Multiple(Value("alphanumext"), default=())}), get_site_info
    ),
}
