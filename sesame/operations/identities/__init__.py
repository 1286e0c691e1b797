"""Identities: doubts, decisions, rules, and new names."""
