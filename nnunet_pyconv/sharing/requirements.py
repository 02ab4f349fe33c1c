"""What has to be installed for a model. Only packages that we know are asked for, whatever a manifest says."""

from __future__ import annotations

import importlib.metadata
import shlex

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from nnunet_pyconv.errors import InputError

KNOWN = ("nnunet-pyconv", "nnunetv2")
"""What a shared model may need, as names of Python packages."""


def requirements_of_this_machine() -> tuple[str, ...]:
    """What a model that was trained here needs: this plugin and nnU-Net, as new as here."""
    pyconv, nnunet = map(importlib.metadata.version, KNOWN)
    return f"{KNOWN[0]}>={pyconv}", f"{KNOWN[1]}>={'.'.join(nnunet.split('.')[:2])}"


def check_known(text: str) -> Requirement:
    """Read a requirement.

    Raises:
        InputError: No requirement, or one of a package, an address or an extra that `nnunet_pyconv share` never writes.
    """
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise InputError(f"the package needs {text!r:.100}, which is no requirement; ask for it again") from error
    if requirement.url or requirement.extras or canonicalize_name(requirement.name) not in KNOWN:
        raise InputError(
            f"the package needs {text!r:.100}; expected {' and '.join(KNOWN)} alone, as nnunet_pyconv share writes. Do "
            "not trust its source"
        )
    return requirement


def install_command(requirements: tuple[str, ...]) -> str:
    """The command that installs what a model needs, for a shell."""
    known = map(check_known, requirements)
    return shlex.join(["pip", "install", *(f"{canonicalize_name(one.name)}{one.specifier}" for one in known)])


def check_installed(requirements: tuple[str, ...]) -> None:
    """Check that what a model needs is installed; a marker may say that this machine doesn't need it.

    Raises:
        InputError: Something is missing or too old.
    """
    for text in requirements:
        requirement = check_known(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        name = canonicalize_name(requirement.name)
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = None
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            state = "is not installed" if version is None else f"{version} is installed"
            raise InputError(
                f"the model needs {name}{requirement.specifier}, and {name} {state}; first: {install_command((text,))}"
            )
