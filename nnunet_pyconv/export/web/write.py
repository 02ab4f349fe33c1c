"""Writing the page."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.runtime.description import Description
from nnunet_pyconv.runtime.model_file import DESCRIPTION, MODEL_CARD, ModelFile
from nnunet_pyconv.writing import check_target, whole_folder

_PAGE = Path(__file__).with_name("page")
RUNTIME = "onnxruntime"
"""Folder of onnxruntime-web's files within the page."""
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_READERS = ("NaturalImage2DIO", "SimpleITKIO", "NibabelIO")
_ENDINGS = (".png", ".tif", ".tiff", ".nii", ".nii.gz")


def write_page(model: ModelFile, folder: Path, onnxruntime_web: Path | None, *, overwrite: bool = False) -> None:
    """Write a folder of static files that any web server can serve.

    Args:
        model: A model of slices.
        folder: To write.
        onnxruntime_web: The npm package onnxruntime-web, as `npm pack onnxruntime-web` writes it, or its folder; None
            for the files that came with this package.
        overwrite: Whether to replace the folder.

    Raises:
        InputError: A model that the page can't run, a folder that is there, or onnxruntime-web missing.
    """
    check_for_page(model.description)
    _check_folder(folder, overwrite=overwrite)
    with whole_folder(folder, overwrite=overwrite) as new:
        shutil.copytree(_PAGE, new, dirs_exist_ok=True, ignore=shutil.ignore_patterns(RUNTIME))
        _copy_runtime(onnxruntime_web, new / RUNTIME)
        (new / DESCRIPTION).write_text(model.description.to_json(), "utf-8")
        (new / MODEL_CARD).write_text(model.model_card, "utf-8")
        for network in model.description.networks:
            (new / network.file).parent.mkdir(exist_ok=True)
            (new / network.file).write_bytes(model.network(network.file))


def check_page(folder: Path, onnxruntime_web: Path | None, *, overwrite: bool) -> None:
    """Check all that `write_page` takes besides the model, before the model is exported.

    Raises:
        InputError: A folder that is there or can't be written, or onnxruntime-web missing.
    """
    _check_folder(folder, overwrite=overwrite)
    with tempfile.TemporaryDirectory() as scratch:
        _copy_runtime(onnxruntime_web, Path(scratch) / RUNTIME)


def check_for_page(description: Description) -> None:
    """Refuse a model that the page can't run.

    Raises:
        InputError: A model of volumes or of 8 bit, a cascade, or one whose images the page does not read as nnU-Net
            does.
    """
    reason = None
    if len(description.patch_size) != 2:
        reason = f"is of {description.configuration}, and the page predicts slices: export the 2d configuration"
    elif description.previous_stage is not None:
        reason = "is the second stage of a cascade"
    elif description.precision == "int8":  # each flip of a rounding spreads; the same happens between two builds
        reason = (
            "is of 8 bit, whose roundings differ from system to system, so that some labels would not be Python's: "
            "export it with --precision fp16"
        )
    elif description.reader == "Tiff3DIO":
        reason = "reads the spacing of a TIFF from a file beside it, which the page does not"
    elif description.reader not in _READERS:
        reason = f"reads images by {description.reader}, which turns them"
    elif description.file_ending not in _ENDINGS:
        reason = f"is for {description.file_ending} files, and the page reads PNG, TIFF and NIfTI"
    elif other := {description.resample_image.function, description.resample_logits.function} - {
        "resample_data_or_seg_to_shape"
    }:
        reason = f"resamples by {other.pop()}"
    elif not {description.resample_image.order, description.resample_logits.order} <= {0, 1, 3}:
        reason = "resamples by splines of another order than 0, 1 and 3"
    if reason is not None:
        raise InputError(f"--web: the model {reason}; or use the file of -o instead")


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    check_target(folder, overwrite=overwrite)
    if folder.exists() and not (folder / DESCRIPTION).is_file():
        raise InputError(f"--web {folder} holds something else than a page of ours; choose another folder")


def _copy_runtime(source: Path | None, target: Path) -> None:
    target.mkdir()
    if source is not None and source.is_file():
        _unpack_runtime(source, target)
        return
    folder = _PAGE / RUNTIME if source is None else source
    for name in RUNTIME_FILES:
        file = next((file for file in (folder / name, folder / "dist" / name) if file.is_file()), None)
        if file is None:
            raise InputError(
                f"--web needs onnxruntime-web, and {folder} lacks {name}; first: npm pack onnxruntime-web, then: "
                "--onnxruntime_web onnxruntime-web-VERSION.tgz"
            )
        shutil.copy(file, target)


def _unpack_runtime(package: Path, target: Path) -> None:
    try:
        with tarfile.open(package) as archive:
            for name in RUNTIME_FILES:
                stream = archive.extractfile(f"package/dist/{name}")
                assert stream is not None  # else KeyError
                with (target / name).open("wb") as file:
                    shutil.copyfileobj(stream, file)
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise InputError(
            f"--onnxruntime_web {package} is not the npm package onnxruntime-web ({error}); get it with: "
            "npm pack onnxruntime-web"
        ) from error
