"""Predicting a folder: reading, network and writing at the same time."""

from __future__ import annotations

import pickle
import re
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_pyconv.runtime.cases import CaseFiles
from nnunet_pyconv.runtime.errors import InputError
from nnunet_pyconv.runtime.predictor import Predictor
from nnunet_pyconv.runtime.preprocessing import PreprocessedGeometry
from nnunet_pyconv.runtime.readers import reader_named
from nnunet_pyconv.runtime.readers.base import Reader, ReadImage

_Prepared = tuple[NDArray[np.float32], PreprocessedGeometry, ReadImage]


def predict_cases(
    predictor: Predictor, cases: Sequence[CaseFiles], *, probabilities: bool, workers: int, progress_bar: bool
) -> None:
    """Predict cases and write the labels, each whole or not at all.

    Threads read, preprocess, resample and write while the network computes: NumPy, SciPy and ONNX Runtime let others
    run, and nothing has to be copied from process to process.

    Args:
        predictor: The model.
        cases: What to predict; the folder of the predictions exists.
        probabilities: Whether to write probabilities, too.
        workers: Threads that read and preprocess, and as many that resample and write.
        progress_bar: Whether to show how far it is.

    Raises:
        InputError: An image that can't be predicted, or a prediction that can't be written.
    """
    _remove_leftovers(cases)
    with ThreadPoolExecutor(workers) as before, ThreadPoolExecutor(workers) as after:
        written: deque[Future[None]] = deque()
        try:
            for number, (case, (data, geometry, image)) in enumerate(_prepared(predictor, cases, before, workers)):
                bar = _Bar(f"{case.name} ({number + 1} of {len(cases)})", shown=progress_bar)
                with _named(case):
                    logits = predictor.logits(data, bar)
                while len(written) >= workers:  # as many results are held as are being written
                    written.popleft().result()
                written.append(
                    after.submit(_write, predictor, case, logits, geometry, image, probabilities=probabilities)
                )
            while written:
                written.popleft().result()
        except BaseException:
            for pool in (before, after):
                pool.shutdown(wait=False, cancel_futures=True)
            raise


def _prepared(
    predictor: Predictor, cases: Sequence[CaseFiles], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[CaseFiles, _Prepared]]:
    """Give the cases in order, with no more than `ahead` read in advance."""
    waiting: deque[tuple[CaseFiles, Future[_Prepared]]] = deque()
    for case in cases:
        waiting.append((case, pool.submit(_prepare, predictor, case)))
        if len(waiting) > ahead:
            first, future = waiting.popleft()
            yield first, future.result()
    while waiting:
        first, future = waiting.popleft()
        yield first, future.result()


def _prepare(predictor: Predictor, case: CaseFiles) -> _Prepared:
    reader = _reader(predictor)
    with _named(case):
        image = reader.read(case.images)
        previous = None if case.previous is None else reader.read_labels(case.previous)
        data, geometry = predictor.prepare(image.array, image.spacing, previous)
    return data, geometry, ReadImage(image.array[:0], image.spacing, image.header)  # its voxels are no longer needed


def _write(
    predictor: Predictor,
    case: CaseFiles,
    logits: NDArray[np.float16],
    geometry: PreprocessedGeometry,
    image: ReadImage,
    *,
    probabilities: bool,
) -> None:
    reader = _reader(predictor)
    target = case.labels.parent
    with _named(case), tempfile.TemporaryDirectory(prefix=f".{case.name}-", dir=target) as folder:
        hidden = Path(folder)
        if probabilities:
            labels, values = predictor.labels_and_probabilities(logits, geometry)
            np.savez_compressed(hidden / case.probabilities.name, probabilities=values)
            (hidden / case.properties.name).write_bytes(pickle.dumps(_properties(geometry, image)))
        else:
            labels = predictor.labels(logits, geometry)
        reader.write(labels, hidden / case.labels.name, image)
        for file in sorted(hidden.iterdir(), key=lambda file: file.name == case.labels.name):  # the labels last
            file.replace(target / file.name)


def _remove_leftovers(cases: Sequence[CaseFiles]) -> None:
    """Remove the hidden folders of a call that was killed while it wrote one of these cases."""
    names = {case.name for case in cases}
    for folder in {case.labels.parent for case in cases}:
        for path in folder.iterdir():
            match = re.fullmatch(r"\.(.+)-[a-z0-9_]{8}", path.name)  # as tempfile names them
            if match is not None and match[1] in names:
                shutil.rmtree(path, ignore_errors=True)


def _reader(predictor: Predictor) -> Reader:
    return reader_named(predictor.model.description.reader, predictor.model.description.file_ending)


def _properties(geometry: PreprocessedGeometry, image: ReadImage) -> dict[str, Any]:
    """What nnU-Net's ensembling reads beside the probabilities."""
    return {
        **image.header,
        "spacing": list(image.spacing),
        "shape_before_cropping": geometry.shape_before_cropping,
        "bbox_used_for_cropping": [[part.start, part.stop] for part in geometry.crop],
        "shape_after_cropping_and_before_resampling": geometry.shape_after_cropping,
    }


class _named:  # a context manager
    """Put the name of a case before the message of an error."""

    def __init__(self, case: CaseFiles) -> None:
        self._case = case

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, InputError) and not str(error).startswith("case "):
            raise InputError(f"case {self._case.name}: {error}") from error


class _Bar:
    """How far a case is, on the terminal."""

    def __init__(self, name: str, *, shown: bool) -> None:
        self._name, self._terminal, self._shown = name, sys.stderr.isatty(), shown

    def __call__(self, done: int, total: int) -> None:
        if not self._shown:
            return
        if self._terminal:
            print(
                f"\r{self._name}: {done}/{total} patches",
                end="\n" if done == total else "",
                file=sys.stderr,
                flush=True,
            )
        elif done == total:
            print(self._name, file=sys.stderr)
