"""Keeping: backup, rebuild, audit, the day's table, the vault's key."""
