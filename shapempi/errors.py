"""The exceptions of shapempi and the policy that says when to raise which.

* A wrong setting, key or command line is a `ConfigError`: nothing has been computed yet; exit code 2.
* A file that the survey needs and that is not there is a `MissingInputError`: exit code 3 when found before the
  start; found during the run it costs the units that need it.
* A file that is there and cannot be used (truncated, no WCS, wrong shape) is a `DataError`: it costs one unit.
* Data that are sound and cannot be measured (no stars, singular fit of a whole CCD) are a `MeasurementError`:
  it costs one unit.  A single *object* that cannot be measured raises nothing: it gets an `ObjectFlag`.
* An engine (program or package) that was asked for and is not there is an `EngineError`: it says how to get it.
* Everything else is a bug and keeps its own type; inside a unit it costs that unit, outside it stops the run.

Every message names the file or key and, where there is one, the cure.
"""

__all__ = [
    "ConfigError",
    "DataError",
    "EngineError",
    "MeasurementError",
    "MissingInputError",
    "ShapempiError",
]


class ShapempiError(Exception):
    """Base of every error that shapempi raises on purpose."""


class ConfigError(ShapempiError):
    """A configuration file, key or command line that cannot be used."""


class MissingInputError(ShapempiError):
    """An input file that the survey names and that does not exist."""


class DataError(ShapempiError):
    """An input file that exists and cannot be used."""


class MeasurementError(ShapempiError):
    """Sound data from which a whole unit's result cannot be computed."""


class EngineError(ShapempiError):
    """A program or package that the configuration asks for and that is not installed or fails."""
