"""Producers, which only publish facts: the registrar's feed, activation, replay."""
