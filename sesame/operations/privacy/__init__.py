"""Privacy: erase a person, prove it, and export what is kept of a person."""
