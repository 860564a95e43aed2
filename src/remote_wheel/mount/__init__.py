"""The warm path, an island: it imports nothing of the package but itself, and nothing the interpreter lacks at start."""
