"""Versions of the method. A run is judged by the one that it began with, which its manifest names."""

from bench.errors import BadInput
from bench.records.run import FIRST_METHOD, Manifest

METHODOLOGY_VERSION = 4
"""Raised whenever the rule's arithmetic or what stands beside it changes; stamped on every manifest and verdict.

3: a p50 of the valid takes, intervals by bootstrap, power of raters with one taste. The manifest does not name it.
4: failed takes are infinite in p50, playability, Student's and Howe's intervals, power with tastes and takes that are
shared, the verdict without raters who failed the controls, earlier runs of the same inputs, strict rule files.
"""


def check_method(manifest: Manifest) -> None:
    """Refuse a run whose method this version does not know.

    Raises:
        BadInput: it began with a newer Audition.
    """
    if not FIRST_METHOD <= manifest.methodology_version <= METHODOLOGY_VERSION:
        raise BadInput(
            f"Run {manifest.run_id} is judged by method {manifest.methodology_version}, and this Audition knows "
            f"{FIRST_METHOD} to {METHODOLOGY_VERSION}; finish it with the version that began it."
        )
