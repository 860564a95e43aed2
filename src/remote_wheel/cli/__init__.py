"""The command line: speaks what `api` does."""
