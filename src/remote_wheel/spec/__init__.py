"""The standards: requirements, digests, sources and core metadata as values. Pure."""
