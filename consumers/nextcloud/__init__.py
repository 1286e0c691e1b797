"""Nextcloud: users and groups of one cloud, over its provisioning API."""
