"""A mapping of nothing, for fields that have one by default; nobody can put anything into it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

EMPTY: Final[Mapping[Any, Any]] = MappingProxyType({})
