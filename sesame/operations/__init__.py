"""What an operator, a student or a program can do: one function per act."""
