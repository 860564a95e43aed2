"""The warm path, an island: it imports nothing of the package but itself, and nothing heavier than mmap."""
