"""Have one consumer compare students with its target again and write differences."""
