"""The registry: facts in, one account per student out. Mints identities, merges facts, announces versions."""
