"""What other packages bring: found by the entry points they declare, and imported by whoever asks for it first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from maskviz.core.errors import ExitCode, MaskvizError

LINTS, RULES = "maskviz.lints", "maskviz.rules"


class ExtensionError(MaskvizError):
    """Another package that extends maskviz is broken, or asks for what is taken."""

    exit_code = ExitCode.NOT_FOUND


@dataclass(frozen=True, slots=True)
class Extension:
    """What one entry point of a package stands for.

    Attributes:
        package: The package, as it is installed.
        name: Name of the entry point.
        value: What it points to.
    """

    package: str
    name: str
    value: Any

    def wrong(self, what: str) -> ExtensionError:
        """An error that names the package."""
        return ExtensionError(
            f"package {self.package!r} extends maskviz and is wrong: {what}",
            f"mend it or remove it: pip uninstall {self.package}",
        )

    def call(self, function: Callable[..., Any], *given: Any) -> Any:
        """What a function of the package returns.

        Raises:
            ExtensionError: it fails; a `MaskvizError` of its own is passed on.
        """
        try:
            return function(*given)
        except MaskvizError:
            raise
        except Exception as error:  # whatever somebody else's code raises
            raise self.wrong(f"{self.name} fails with {_line(error)}") from error


@cache
def extensions(group: str) -> tuple[Extension, ...]:
    """What the packages installed here bring for a group of entry points, in the order of their names.

    Raises:
        ExtensionError: one cannot be imported.
    """
    found = [(point.dist.name if point.dist else point.value, point.name, point) for point in entry_points(group=group)]
    return tuple(_loaded(*one) for one in sorted(found, key=lambda one: one[:2]))


def _loaded(package: str, name: str, point: Any) -> Extension:
    try:
        return Extension(package, name, point.load())
    except (Exception, SystemExit) as error:  # whatever somebody else's module does when it is imported
        raise Extension(package, name, None).wrong(f"{point.value} cannot be imported: {_line(error)}") from error


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
