"""The rehearsal: a twin of the site without anybody of it, and its first Monday."""
