"""What every connector needs, written once: a connector says what is its target's own, and nothing else.

Rooms: `connector` (what an author writes: the verbs, and the shape that they speak of), `handler` (drives
them: close, read, compare, apply, read back, say), `registration` (finds connectors by entry point),
`reasons` (tokens in words), `settings`, `deadline`, `http` (the HTTP client).
"""
