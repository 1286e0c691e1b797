"""Questions to operators: adoption, comparison, restore."""
