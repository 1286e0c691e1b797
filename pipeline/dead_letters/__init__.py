"""Work that is not tried again by itself, with its cause. What happens to a letter is said on the log too."""
