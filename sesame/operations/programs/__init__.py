"""Programs: tokens, events, completions, and persons by SCIM."""
