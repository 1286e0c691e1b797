"""RENATER Partage: a domain's mail accounts, by BSS, its provisioning interface.

Written from what public clients of BSS do, and run against `sandbox/partage` only: see
docs/how-to/connect-partage.md for what was read where.

Rooms, from the wire upwards: `answers` (XML, and what a message means), `bss` (token and calls), `objects`
(an account in Partage's words), `connector`.
"""
