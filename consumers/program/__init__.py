"""A connector in any language: a program that reads JSON lines, or an HTTP endpoint that does, given by
settings.

Rooms: `connector` (the verbs), `exchange` (the two ways to ask), `lines` (what a line says), `settings`.
"""
