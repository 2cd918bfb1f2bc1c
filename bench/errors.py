"""The errors a user can do something about; each message says what to do."""


class AuditionError(Exception):
    """Something the user can act on: the message says what is wrong and what to do about it.

    Printed without a traceback. Anything else that escapes is a bug of ours and keeps its traceback.
    """

    exit_code = 1


class BadInput(AuditionError):
    """What the user gave cannot be used (exit 2); raised before anything is stopped or downloaded."""

    exit_code = 2


class DiskFull(AuditionError):
    """There is no room on a disk (exit 2); the message says which, and no half of a file is left behind."""

    exit_code = 2


class OutOfReach(AuditionError):
    """What was to be fetched could not be had, or came with other bytes (exit 2): it says nothing of a model.

    The same command goes on once it can be had.
    """

    exit_code = 2


class NeighbourNotBack(AuditionError):
    """The neighbour is not as it was before the run (exit 2)."""

    exit_code = 2


class PhaseMissing(AuditionError):
    """A phase lacks what an earlier phase makes; the message names the phase to run (exit 2)."""

    exit_code = 2
