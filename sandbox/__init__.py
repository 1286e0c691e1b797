"""Real servers on loopback for the demo and the tests, independent of the project's code.

Each server lives in a temporary folder, listens on loopback only, and is ended by its starter.
"""
