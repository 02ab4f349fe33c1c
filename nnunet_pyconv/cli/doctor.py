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
    to_mend = 0
    for finding in examine():
        print(f"[{'ok' if finding.mend is None else '!!'}] {finding.subject}: {finding.state}")
        if finding.mend is not None:
            to_mend += 1
            print(f"     to mend: {finding.mend}")
    if to_mend:
        print(f"\n{to_mend} to mend before a training can start.")
        sys.exit(1)
    print("\nA training can start.")
