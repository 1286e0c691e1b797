"""Reactions to events: the registry, one consumer per target, and propagation. None imports another."""
