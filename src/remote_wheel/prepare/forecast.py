"""Which modules an import will ask for next, read from the code of those that are known to be imported."""

import opcode
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType
from typing import Any, Final

_LOAD_CONST: Final = opcode.opmap["LOAD_CONST"]
_LOAD_SMALL_INT: Final = opcode.opmap.get("LOAD_SMALL_INT")  # since Python 3.14
_CO_OPTIMIZED: Final = 1  # of functions, whose imports wait until they are called
_IMPORT_NAME: Final = opcode.opmap["IMPORT_NAME"]


class Forecast:
    """Modules in the order in which they will probably be imported: depth first, as their code imports them.

    *wanted* are dotted names to start from. Distributions become known one by one (`add`); what needs one that is not
    known yet waits for it. A forecast may be wrong, so nothing but the order of work may rest on it.
    """

    def __init__(self, wanted: Iterable[str]) -> None:
        self._todo = [*wanted][::-1]  # a stack: the next one is the last
        self._waiting: dict[str, list[str]] = {}
        self._known: set[str] = set()
        self._tops: set[str] = set()
        self._seen: set[str] = set()

    def want(self, names: Iterable[str]) -> None:
        """Add names that count less than what is known to be wanted."""
        self._todo[:0] = [*names][::-1]

    def add(self, modules: Mapping[str, Any]) -> None:
        """Make a distribution's modules known, by their path without suffix (``flask/app``)."""
        self._known.update(modules)
        for top in {key.partition("/")[0] for key in modules}:
            self._tops.add(top)
            self._todo += self._waiting.pop(top, ())

    def next(self) -> str | None:
        """Return the key of the next module, None where nothing is left of what is known."""
        while self._todo:
            name = self._todo.pop()
            parent, _, _ = name.rpartition(".")
            key, above = name.replace(".", "/"), parent.replace(".", "/")
            if key in self._seen:
                continue
            if (top := key.partition("/")[0]) not in self._tops:
                self._waiting.setdefault(top, []).append(name)
            elif above in self._known and above not in self._seen:
                self._todo += (name, parent)
            elif key in self._known:
                self._seen.add(key)
                return key
        return None

    def learn(self, key: str, code: CodeType, *, is_package: bool) -> None:
        """Take note of what the module *key*, whose code this is, imports at its top level."""
        package = key if is_package else key.rpartition("/")[0]
        self._todo += [*_imports_of(code, package.split("/"))][::-1]


def _imports_of(code: CodeType, package: list[str]) -> Iterator[str]:
    """Yield the dotted names that *code* imports as it runs, those that may be modules beneath them included."""
    constants: tuple[Any, Any] = (None, None)  # the two loaded last: level and names, where an import follows
    raw, extended = code.co_code, 0
    for at in range(0, len(raw), 2):
        operation, argument = raw[at], raw[at + 1] | extended
        extended = argument << 8 if operation == opcode.EXTENDED_ARG else 0
        if operation == _LOAD_CONST:
            constants = constants[1], code.co_consts[argument]
        elif operation == _LOAD_SMALL_INT:
            constants = constants[1], argument
        elif operation == _IMPORT_NAME:
            level, names = constants
            name = code.co_names[argument]
            if isinstance(level, int) and level:
                above = package[: len(package) - level + 1]
                name = ".".join([*above, name] if name else above)
            yield name
            if isinstance(names, tuple):
                yield from (f"{name}.{each}" for each in names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and not constant.co_flags & _CO_OPTIMIZED:  # the body of a class
            yield from _imports_of(constant, package)
