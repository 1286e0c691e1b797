"""What all pages use: the guard, addresses, languages, signatures, static files."""
