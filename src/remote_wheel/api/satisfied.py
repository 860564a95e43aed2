"""Whether a lock that is to be used as it is has what is required beside it."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from packaging.utils import canonicalize_name

from remote_wheel.errors import LockOutdated, RemoteWheelError, UsageError
from remote_wheel.resolution.plan import Plan
from remote_wheel.spec.requirement import applies, parse_requirement
from remote_wheel.spec.source import is_source, redact_text, without_secrets


def check_binaries(plan: Plan, no_binary: Collection[str], only_binary: Collection[str]) -> None:
    """Raise UsageError where the requirements files want a build of what is in *plan*: nothing is ever built."""
    wheels = [pin for pin in plan.pins if pin.filename.endswith(".whl") and pin.index]
    is_all = ":all:" in no_binary
    wanted = [str(pin) for pin in wheels if pin.name in no_binary or (is_all and pin.name not in only_binary)]
    if wanted:
        what = f"--no-binary asks for a build of {', '.join(wanted[:5])}, and nothing is ever built"
        raise UsageError(message=what, way_out="Leave that line out, or build wheels of it (pip wheel) for find_links.")


def _plain(text: str) -> str:
    """Return a requirement as it is always written the same, whatever its spaces and order; a source as it is."""
    with suppress(RemoteWheelError):
        if not is_source(text):
            return str(parse_requirement(text))
    return text


def check_satisfies(
    plan: Plan, lock: str, text: str, requirements: Iterable[str], environment: Mapping[str, str]
) -> None:
    """Raise LockOutdated where *plan*, of the *lock* with that *text*, lacks what one of *requirements* asks for.

    Of extras and URLs pins don't tell it: a lock of ours says what it was made for. Raises UsageError where another
    tool's does not.
    """
    from remote_wheel.resolution.pylock import requirements_of

    pins = {pin.name: pin for pin in plan.pins}
    locked_for = set(map(_plain, requirements_of(text)))
    for each in requirements:
        if _plain(redact_text(each)) in locked_for:
            continue
        requirement = None if is_source(each) else parse_requirement(each)
        if requirement is not None and not applies(requirement, environment):
            continue
        if requirement is None or requirement.url or requirement.extras:
            if locked_for:
                pin = pins.get(canonicalize_name(requirement.name)) if requirement else None
                raise LockOutdated(lock=lock, requirement=redact_text(each), locked=str(pin) if pin else "")
            what = f"whether the lock {lock} has {without_secrets(each)!r} can't be told"
            raise UsageError(message=what, way_out="Leave it to the lock, or use --frozen.")
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None or not requirement.specifier.contains(pin.version, prereleases=True):
            raise LockOutdated(lock=lock, requirement=each, locked=str(pin) if pin else "")
