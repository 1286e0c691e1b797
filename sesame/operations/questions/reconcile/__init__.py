"""Compare all targets' objects with all accounts: manual changes, restores, bugs."""
