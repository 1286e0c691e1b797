"""Join the targets' outcomes per student; announce completion, lateness, breach."""
