"""The registry: facts in, one account per student out. It mints identities and account versions."""
