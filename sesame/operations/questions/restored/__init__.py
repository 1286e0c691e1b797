"""A store that came out of a backup: recognised, shut, checked against the targets, opened again."""
