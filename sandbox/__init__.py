"""Real servers on loopback for the demo and the tests; imports nothing of the project.

Each server lives in a temporary folder, listens on loopback only, and is ended by whoever started it.
"""
