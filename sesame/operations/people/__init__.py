"""People: identities, status, and diagnosis."""
