"""Shared by all pages: guard, addresses, languages, signatures, static files."""
