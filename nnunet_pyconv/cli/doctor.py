"""`nnunet_pyconv doctor`: check that a training could start."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nnunet_pyconv.doctor import examine


def main(argv: Sequence[str], prog: str) -> None:
    """Print what was found; the exit status is 0 only if a training could start."""
    argparse.ArgumentParser(
        prog=prog,
        description=(
            "Check versions, device, nnU-Net's three folders, whether nnU-Net finds our trainer and whether plans "
            "resolve. The exit status is 0 only if a training could start."
        ),
    ).parse_args(argv)
    blocking = 0
    for finding in examine():
        mark = "ok" if finding.mend is None else "!!" if finding.blocks else "--"
        print(f"[{mark}] {finding.subject}: {finding.state}")
        if finding.mend is not None:
            print(f"     to mend: {finding.mend}")
        blocking += finding.blocks
    if blocking:
        print(f"\n{blocking} to mend before a training can start.")
        sys.exit(1)
    print("\nA training can start.")
