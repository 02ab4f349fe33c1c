"""`python -m nnunet_pyconv` is the command `nnunet_pyconv`."""

from nnunet_pyconv.cli import main

main()
