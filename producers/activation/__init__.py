"""Activation: students request their accounts.

By command: `activate`; `read_students` and `read_passwords` read an operator's files. By the students'
pages: `ProofRequests` sends a message, `Proofs` verifies identity by it, `Choices` takes the student's
choices, `Postman` sends the messages.

Import its modules by their own names: settings need three of them, without the libraries of the others.
"""
