"""What we keep on disk: staged, synced, renamed; private, content-addressed, versioned by folder name."""
