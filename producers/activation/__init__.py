"""Activation: students ask for their accounts.

By command: `activate`; `read_students` and `read_passwords` read what an operator hands over. By the
students' pages: by `ProofRequests` for a message and by `Proofs` somebody shows who they are, `Choices` takes
what they settle, `Postman` sends the messages.

Its rooms are asked for by their own names: settings need three of them, and not the libraries of the others.
"""
