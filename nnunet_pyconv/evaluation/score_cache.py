"""Scores that were computed before, kept by the content of the files that they are of."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nnunet_pyconv.cache_folder import cache_folder
from nnunet_pyconv.evaluation.models import CaseFiles

_DAYS_KEPT = 90
_LIBRARIES = ("monai", "nnunetv2", "numpy", "scikit-image", "scipy", "torch")


@dataclass(frozen=True)
class CaseScores:
    """The scores of one case, NaN for none.

    Attributes:
        per_class: By class and metric key.
        per_image: By metric key.
        per_threshold: A value for each threshold, or a single one, by metric key.
    """

    per_class: dict[str, dict[str, float]]
    per_image: dict[str, float]
    per_threshold: dict[str, list[float]]


@dataclass(frozen=True)
class ScoreCache:
    """A folder with a file of scores for each case.

    What can't be read from it is computed again, and what can't be written to it is not kept: a cache never makes a
    report fail.

    Attributes:
        folder: In the user's cache folder; None where there is no such place.
        settings: Hash of everything but the files on which scores depend: labels, tolerance, code, versions.
    """

    folder: Path | None
    settings: str

    @classmethod
    def of(cls, *settings: Any) -> ScoreCache:
        """Return the user's cache.

        Args:
            settings: On what scores depend, beside the files, the code and the versions of its libraries.
        """
        base = cache_folder()
        if base is None:
            return cls(None, "")
        return cls(base / "scores", _hash(repr(settings).encode(), _code_and_versions()))

    def key(self, files: CaseFiles) -> str:
        """Return the hash of the files of a case and the settings; empty where a file can't be read."""
        if self.folder is None:
            return ""
        digests = [self.settings.encode()]
        for file in (files.truth, files.prediction, files.probabilities):
            # nnU-Net reads the spacing of a TIFF from a .json beside it
            for part in () if file is None else (file, file.with_suffix(".json")):
                try:
                    digests.append(hashlib.sha256(part.read_bytes()).digest())
                except OSError:
                    if part is file:
                        return ""
                    digests.append(b"none")
            digests.append(b"none" if file is None else b"file")
        return _hash(*digests)

    def get(self, key: str) -> CaseScores | None:
        """Return known scores, or None."""
        if self.folder is None or not key:
            return None
        file = self._file(key)
        try:
            scores = CaseScores(**json.loads(file.read_text("utf-8")))
            numbers = [
                *(value for values in scores.per_class.values() for value in values.values()),
                *scores.per_image.values(),
                *(value for values in scores.per_threshold.values() for value in values),
            ]
            if not all(isinstance(number, float) for number in numbers):
                return None
            os.utime(file)  # it is in use, see `prune`
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        return scores

    def put(self, key: str, scores: CaseScores) -> None:
        """Keep scores."""
        if self.folder is None or not key:
            return
        file = self._file(key)
        new = file.with_name(f".{file.name}-{os.getpid()}")
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(asdict(scores)), "utf-8")
            new.replace(file)

    def prune(self) -> None:
        """Remove scores that nobody has asked for in three months."""
        oldest = time.time() - _DAYS_KEPT * 24 * 60 * 60
        with contextlib.suppress(OSError):
            for file in [] if self.folder is None else self.folder.glob("*/*"):
                if file.stat().st_mtime < oldest:
                    file.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key[2:]}.json"


@cache
def _code_and_versions() -> bytes:
    """All on which scores of the same files depend in the code: another version of it computes them anew."""
    here = Path(__file__).parent
    sources = [here / "dataset.py", here / "reading.py", here / "scores.py", *sorted((here / "metrics").glob("*.py"))]
    versions = [f"{name} {version(name)}".encode() for name in _LIBRARIES]
    return _hash(*(source.read_bytes() for source in sources), *versions).encode()


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
