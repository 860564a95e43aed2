"""What a folder holds, where a place has folders but no pages: a media type of our own between fetch and index."""

import json
from collections.abc import Iterable, Iterator
from typing import Final

LISTING: Final = "application/vnd.remote-wheel.listing+json"


def dump_listing(entries: Iterable[tuple[str, int]]) -> bytes:
    """Return the listing of files as (name, size in bytes)."""
    return json.dumps([{"name": name, "size": size} for name, size in sorted(entries)]).encode()


def parse_listing(body: bytes) -> Iterator[tuple[str, int]]:
    """Undo dump_listing; raise ValueError, KeyError or TypeError for something else."""
    for entry in json.loads(body):
        yield entry["name"], entry["size"]
