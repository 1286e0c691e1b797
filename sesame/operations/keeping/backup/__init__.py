"""Copies of the embedded store and log: made while they are worked with, proved, and put back."""
