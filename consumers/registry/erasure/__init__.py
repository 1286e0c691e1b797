"""Erasures: who is to be erased, who was, and how they are recognised afterwards."""
