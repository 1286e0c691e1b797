"""People: who they are, where they stand, and why."""
