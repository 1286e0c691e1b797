"""A connector in any language: a program or HTTP endpoint that reads JSON lines.

The settings name it.

Rooms: `connector` (the verbs), `exchange` (the two ways to call it), `lines` (what a line says), `settings`.
"""
