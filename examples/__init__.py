"""Examples: a registrar's export, and the program that made it."""
