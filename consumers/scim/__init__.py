"""The SCIM target: users and groups of a service (RFC 7643, 7644, 9865).

Services differ in what they can do, and announce it in their configuration, not always truly: each answer is
checked, and what a service announced and then refused is not tried again.

Rooms: `connector` (the verbs), `resources` (an account as a user, and a user as the kit sees it), `service`
(the service's abilities, single resources and lists), `writes` (one by one, or in bulk), `groups`.
"""
