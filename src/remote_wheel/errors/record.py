"""What every error is: a record of facts.

An error's attributes hold what happened (strings, numbers and tuples of them, so that an error crosses the
helper process unchanged); `str()` tells it in one line and `hint` says what to try. `detail` holds the long
version that the command line shows under ``-v``.
"""

TYPE_CHECKING = False  # the name type checkers know; `typing` itself costs 7 ms and this module must be free
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, dataclass_transform
else:

    def dataclass_transform(**_options):
        """Stand in for typing's decorator, which does nothing at run time either."""
        return lambda cls: cls


_classes: "dict[str, type[RemoteWheelError]]" = {}


@dataclass_transform(kw_only_default=True)
class RemoteWheelError(Exception):
    """Base of all errors of this package. Facts are keyword arguments and become attributes."""

    _facts: "tuple[str, ...]" = ()
    _hint = ""  # what to try, where it is the same for every case

    def __init_subclass__(cls) -> None:
        """Collect the annotated facts of the class and of its bases."""
        own = tuple(name for name in cls.__annotations__ if not name.startswith("_"))
        cls._facts = tuple(dict.fromkeys((*cls._facts, *own)))
        cls.__module__ = "remote_wheel.errors"  # where users import it from
        if "__str__" in vars(cls):
            cls.__str__ = _as_visible(cls.__str__)  # type: ignore[method-assign]
        _classes[cls.__name__] = cls

    if not TYPE_CHECKING:

        def __init__(self, **facts):
            missing = [n for n in self._facts if n not in facts and not hasattr(type(self), n)]
            unknown = [n for n in facts if n not in self._facts]
            if missing or unknown:
                raise TypeError(f"{type(self).__name__}: missing facts {missing}, unknown facts {unknown}")
            super().__init__()
            self.__dict__.update(facts)
            if self.hint:
                self.add_note(f"try: {_visible(self.hint)}")  # so that a traceback shows the way out, too

    def __str__(self) -> str:
        """One line: the thing and the reason."""
        raise NotImplementedError

    @property
    def hint(self) -> str:
        """What to try, as one or more sentences; empty where nothing helps."""
        return self._hint

    @property
    def detail(self) -> str:
        """The long version, empty where the line says it all."""
        return ""

    def facts(self) -> "dict[str, Any]":
        """Return the facts by name; they are strings, numbers, None, or tuples of these."""
        return {name: getattr(self, name) for name in self._facts}

    def __reduce__(self) -> "tuple[Any, ...]":
        """Pickle by class name and facts."""
        return rebuild_error, (type(self).__name__, self.facts())


def _visible(text: str) -> str:
    """Return *text*, of which a part may come from elsewhere, as one line that does nothing to a terminal."""
    from remote_wheel.errors.visible import visible_line  # regular expressions are much to import

    return visible_line(text)


def _as_visible(say: "Callable[[RemoteWheelError], str]") -> "Callable[[RemoteWheelError], str]":
    """Return *say* with what it says made visible: an uncaught error reaches the terminal by no printer of ours."""

    def __str__(self: "RemoteWheelError") -> str:  # noqa: N807  # it becomes that
        return _visible(say(self))

    return __str__


def rebuild_error(name: str, facts: "dict[str, Any]") -> RemoteWheelError:
    """Make the error class *name* again from its facts, lists turned back into tuples."""
    return _classes[name](**{key: _as_tuples(value) for key, value in facts.items()})


def _as_tuples(value: "Any") -> "Any":
    return tuple(_as_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def list_names(names: "tuple[str, ...]", most: int = 12) -> str:
    """Return the first *most* of *names* as text, and how many more there are."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def join_words(parts: "tuple[str, ...]") -> str:
    """Return *parts* as one clause: with commas, and "and" before the last."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)
