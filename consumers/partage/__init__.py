"""RENATER Partage: a domain's mail accounts, by BSS, its provisioning interface.

Written after public clients of BSS, and run against `sandbox/partage` only; sources are in
docs/how-to/connect-partage.md.

Rooms, from the wire upwards: `answers` (XML, and what a message means), `bss` (token and calls), `objects`
(an account's attributes), `connector`.
"""
