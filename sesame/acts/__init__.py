"""Acts: name, required roles, needs, and the admission of a restored store."""
