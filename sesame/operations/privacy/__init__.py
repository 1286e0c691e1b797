"""Erasing a person, proving it, and handing a person what is kept of them."""
