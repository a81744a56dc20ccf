"""The exception tree. Everything raised on purpose is an S2SError; anything else is a bug.

    S2SError
    ├── ConfigError               the user asked for something wrong; nothing was started
    │   ├── RecipeError           unknown key, wrong type, impossible value or target
    │   ├── UnknownPlugin         no plugin of that name; lists the choices
    │   └── MissingExtra          the plugin exists, its packages or programs do not; says how to install them
    ├── EngineError               an engine failed at its work
    │   ├── SynthesisError        a TTS backend could not speak a request
    │   ├── TranscriptionError    an ASR backend could not hear an utterance
    │   └── EndpointError         an HTTP endpoint could not be used
    │       ├── EndpointDown      it does not answer, or refuses our credentials or model
    │       └── BreakerOpen       it has failed for so long that going on would produce nothing
    └── StorageError              reading or writing failed
        ├── NotWritable           the place cannot be written
        ├── NoSpace               the disk is full
        ├── DamagedFile           bytes are not what their manifest says
        ├── RunLocked             another process works on this run
        └── NotARun               the directory holds no run (or no sealed corpus)

Messages say what was wrong, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable


class S2SError(Exception):
    """Root of everything this project raises on purpose. Its text is fit to print without a traceback."""


class ConfigError(S2SError, ValueError):
    """The request itself is wrong. Nothing was started, retrying changes nothing."""


class RecipeError(ConfigError):
    """A recipe has an unknown key, a wrong type or an impossible value."""


class UnknownPlugin(ConfigError):
    """No plugin of that name is registered.

    Args:
        group: plugin group as a person says it, e.g. ``tts_backends``.
        name: the name that was asked for.
        choices: the names that exist.
    """

    def __init__(self, group: str, name: str, choices: Iterable[str]) -> None:
        self.group, self.name, self.choices = group, name, tuple(sorted(choices))
        listed = ", ".join(self.choices) or "(none is registered)"
        super().__init__(f"No {group} plugin named {name!r}; choose one of: {listed}.")


class MissingExtra(ConfigError):
    """A plugin exists, but what it runs on is not installed.

    Args:
        what: the plugin or feature.
        missing: the package, program or file that is not there.
        fix: the command that brings it.
    """

    def __init__(self, what: str, missing: str, fix: str) -> None:
        self.what, self.missing, self.fix = what, missing, fix
        super().__init__(f"{what} needs {missing}, which is not installed. Install it with: {fix}")


class EngineError(S2SError, RuntimeError):
    """An engine failed at its work."""


class SynthesisError(EngineError):
    """A TTS backend could not speak a request."""


class TranscriptionError(EngineError):
    """An ASR backend could not hear an utterance."""


class EndpointError(EngineError):
    """An HTTP endpoint could not be used."""


class EndpointDown(EndpointError):
    """The endpoint does not answer, or refuses our credentials, model or request."""


class BreakerOpen(EndpointError):
    """The endpoint failed for so long that going on would produce nothing."""


class StorageError(S2SError, OSError):
    """Reading or writing failed."""


class NotWritable(StorageError):
    """The place cannot be written."""


class NoSpace(StorageError):
    """The disk is full."""


class DamagedFile(StorageError):
    """Bytes are not what their manifest says."""


class RunLocked(StorageError):
    """Another process works on this run."""


class NotARun(StorageError):
    """The directory holds no run, or no sealed corpus."""
