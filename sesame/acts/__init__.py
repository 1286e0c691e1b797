"""What an act is: its name, who may do it, what it needs, and the gate of a restored store."""
