"""A restored store: recognised, shut, checked against the targets, reopened."""
