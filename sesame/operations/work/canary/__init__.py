"""The canary: a synthetic student, by whom a broken step is seen first."""
