"""Failed work that waits for an operator, with its cause; changes are events too."""
