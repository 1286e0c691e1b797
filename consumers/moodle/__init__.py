"""The Moodle target: users and cohorts of one site, over web services.

Moodle 4.5, REST. What the site must give:

- web services and the REST protocol enabled; an external service with the functions of `functions.NEEDED`;
- a service user with a token of that service, and a role at *system* level with `webservice/rest:use`,
  `moodle/user:create`, `moodle/user:update`, `moodle/user:viewdetails`, `moodle/user:viewalldetails`,
  `moodle/site:viewuseridentity` (with `email` in the site's `showuseridentity`) and `moodle/cohort:manage`.
  Cohorts are never deleted; users only by an erasure, which also needs `moodle/user:delete` and
  `core_user_delete_users`.

Rooms, from the wire upwards: `answers` (what an answer means), `rest` (HTTP), `functions` (typed calls),
`bulk` (limits and halving), `users`, `cohorts`, `members`, `deletions` and `rights`, `intent` (an account in
Moodle's words, a user in the kit's), `work` (one student within a batch), `site` (a batch's work) and
`connector`. `causes` names every reason why a student is not as wanted; its words are in `reasons.toml`.
"""

from typing import Final

NAME: Final = "moodle"
"""What `targets` calls it, and its section of the settings."""
