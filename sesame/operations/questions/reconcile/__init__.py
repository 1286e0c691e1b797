"""Compare all objects of all targets with all accounts: manual changes, restores, bugs."""
