"""Erasures: who is to be forgotten, who was, and how they are recognised afterwards."""
