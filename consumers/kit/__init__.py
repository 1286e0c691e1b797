"""The common base of connectors; a connector adds what its target needs.

Rooms: `connector` (what an author writes: the verbs and their types), `handler` (drives them: close, read,
compare, apply, read back, report), `registration` (finds connectors by entry point), `reasons` (texts of
tokens), `settings`, `deadline`, `http` (the HTTP client).
"""
