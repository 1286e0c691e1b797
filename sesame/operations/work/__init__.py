"""Work that failed: dead letters, replays, blast radius."""
