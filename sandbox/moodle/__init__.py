"""A stand-in of a Moodle site, with the answers of a recorded Moodle 4.5.6.

It computes its answers from rules and from its own data; it stores no recorded answer. Covered: the REST
protocol (PHP's reading of forms with its silent limits, JSON and XML, token, service and capability checks),
users, cohorts and their members, the troubles of a real site, and a test's faults. Not covered: passwords
(there are no logins), courses, enrolment, events, plugins.

By hand:

    python -m sandbox.moodle --port 8080 --data moodle.sqlite --token-file token --control-key-file key

It prints one line when it is ready, stays in the foreground and ends cleanly on SIGTERM; `--help` lists the
options. `/_control` changes the site's state while it runs (`sandbox.moodle.control`).

From a test:

    with MoodleStandIn(tmp_path, max_input_vars=5000) as moodle:
        client = connect(moodle.url, moodle.token)
        moodle.fault(FaultKind.GATEWAY_TIMEOUT_AFTER_COMMIT)
        moodle.set(database_down=True)

Rooms: `web` (HTTP), `gateway` (nginx and php-fpm), `phpform` (how PHP reads a form), `service` (token and
rights), `params` (checks of parameters), `users`, `users_update`, `users_read`, `cohorts`, `members`, `site`
(the functions), `storage` and `collation` (the database), `conditions` and `control` (state and faults),
`errors` and `render` (what the client sees), `standin` (the process, for fixtures).
"""

from sandbox.moodle.conditions import CAPABILITIES, Conditions, Fault, FaultKind
from sandbox.moodle.standin import MoodleStandIn

__all__ = ["CAPABILITIES", "Conditions", "Fault", "FaultKind", "MoodleStandIn"]
