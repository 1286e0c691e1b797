"""A connector in any language: a program or HTTP endpoint that reads JSON lines.

Rooms: `connector` (the verbs), `exchange` (the two ways to call it), `lines` (their format), `settings`.
"""
