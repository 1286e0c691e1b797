"""What every page needs: the guard, addresses, languages, signatures, files that are served as they are."""
