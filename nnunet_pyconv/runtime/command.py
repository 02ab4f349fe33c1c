"""The command line of a model, for the file that runs by itself and for `nnunet_pyconv predict`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from nnunet_pyconv.runtime.description import Description, Device
from nnunet_pyconv.runtime.errors import InputError, run_command
from nnunet_pyconv.runtime.model_file import ModelFile
from nnunet_pyconv.runtime.readers import missing_packages
from nnunet_pyconv.runtime.terminations import terminations_raised


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags, which are those of nnUNetv2_predict as far as they mean something here."""
    add = parser.add_argument
    add(
        "-i",
        dest="source",
        type=Path,
        required=True,
        metavar="IMAGES",
        help="folder of images: case_0000.png and so on",
    )
    add("-o", dest="target", type=Path, required=True, metavar="OUT", help="folder for the predictions")
    add(
        "-device",
        choices=get_args(Device),
        help="where the network runs (default: what this ONNX Runtime prefers, a GPU if it was built for one)",
    )
    add("--disable_tta", action="store_true", help="predict once instead of averaging over mirrored images: faster")
    add(
        "-step_size",
        type=float,
        default=0.5,
        metavar="X",
        help="distance of the patches, in patches (default: %(default)s)",
    )
    add("--save_probabilities", action="store_true", help="write probabilities, too (.npz, for nnUNetv2_ensemble)")
    add("--continue_prediction", "--c", action="store_true", help="leave out cases that have been predicted")
    add("--overwrite", action="store_true", help="replace predictions that are there")
    add(
        "--postprocess",
        action="store_true",
        help="keep only the largest components, as nnU-Net's post-processing chose",
    )
    add(
        "-prev_stage_predictions",
        dest="previous",
        type=Path,
        metavar="DIR",
        help="predictions of the previous stage, for the second stage of a cascade",
    )
    add(
        "-np",
        "-npp",
        "-nps",
        dest="workers",
        type=int,
        default=3,
        metavar="N",
        help="threads that read, and as many that write, while the network computes; 0 is 1 (default: %(default)s)",
    )
    add(
        "-num_parts",
        type=int,
        default=1,
        metavar="N",
        help="number of calls that share the cases (default: %(default)s)",
    )
    add("-part_id", type=int, default=0, metavar="K", help="which of them this is, from 0 (default: %(default)s)")
    add("--disable_progress_bar", action="store_true", help="print nothing while predicting")
    for flag in ("--verbose", "--not_on_device"):
        add(flag, action="store_true", help="taken as nnUNetv2_predict takes it, without effect here")


def run(args: argparse.Namespace, model: ModelFile) -> None:
    """Predict a folder.

    Raises:
        InputError: Flags, a model or images that can't be used, or packages that are missing.
    """
    _check(args, model.description)
    # imported here: --help, and naming what is missing, need nothing but Python
    from nnunet_pyconv.runtime.cases import cases_left, find_cases, write_beside
    from nnunet_pyconv.runtime.folder import predict_cases
    from nnunet_pyconv.runtime.predictor import Predictor, Settings

    if model.description.reader == "Tiff3DIO" and args.target.resolve() == args.source.resolve() and not args.overwrite:
        raise InputError(
            f"-o {args.target} is the folder of the images, whose spacing stands in case.json, where that of the "
            "labels would be written; choose another folder, or replace them with --overwrite"
        )
    cases = find_cases(args.source, args.target, model.description.file_ending, args.previous)
    cases = cases[args.part_id :: args.num_parts]
    left = cases_left(
        cases, probabilities=args.save_probabilities, keep=args.continue_prediction, overwrite=args.overwrite
    )
    settings = Settings(
        args.device,
        mirroring=not args.disable_tta,
        step_size=args.step_size,
        postprocess=args.postprocess,
        scratch=args.target,
    )
    _check_folder(args.target)
    predictor = Predictor(model, settings)
    args.target.mkdir(parents=True, exist_ok=True)
    given = {key: str(value) for key, value in vars(args).items() if not callable(value)}
    write_beside(model, args.target, given, overwrite=args.overwrite)
    predict_cases(
        predictor,
        left,
        probabilities=args.save_probabilities,
        workers=max(args.workers, 1),
        progress_bar=not args.disable_progress_bar,
    )
    print(f"{len(left)} of {len(cases)} cases predicted, written to {args.target}")


def _check(args: argparse.Namespace, description: Description) -> None:
    """Refuse flags that contradict each other or the model."""
    if not 0 <= args.part_id < args.num_parts:
        raise InputError(
            f"-part_id {args.part_id}: expected 0 to {args.num_parts - 1}, as -num_parts is {args.num_parts}"
        )
    if args.workers < 0:
        raise InputError(f"-np {args.workers}: expected at least 0")
    if args.continue_prediction and args.overwrite:
        raise InputError("--continue_prediction keeps what --overwrite replaces; give one of them")
    if missing := missing_packages(description.reader, description.file_ending):
        raise InputError(f"the model needs packages that are not installed; first: pip install {' '.join(missing)}")
    if args.postprocess and not description.postprocessing:
        raise InputError(
            "--postprocess: the model has none, since nnUNetv2_find_best_configuration found none or was not run; "
            "leave the flag out"
        )
    if (args.previous is None) != (description.previous_stage is None):
        raise InputError(
            f"the model is the second stage of a cascade; predict with {description.previous_stage} first and give its "
            "folder with -prev_stage_predictions"
            if args.previous is None
            else "the model is not the second stage of a cascade; leave -prev_stage_predictions out"
        )


def _check_folder(target: Path) -> None:
    """Refuse a folder that can't be made, before the network is loaded."""
    there = next(path for path in (target, *target.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"-o {target}: {there} is a file; give a folder for the predictions")


def main(path: str, argv: Sequence[str] | None = None) -> None:
    """Be the command of a model file.

    Args:
        path: The file.
        argv: Its arguments; None for those of the process.
    """

    def command() -> None:
        model = ModelFile.open(path)
        parser = argparse.ArgumentParser(
            prog=f"python {Path(path).name}",
            description=_about(model.description),
            epilog="The images have the names that nnU-Net gives them: case_0000, and case_0001 for a second channel. "
            "--model_card prints what the model is for.",
        )
        parser.add_argument(
            "--model_card", action=_PrintCard, nargs=0, model=model, help="print the model card and exit"
        )
        add_arguments(parser)
        run(parser.parse_args(argv), model)

    with terminations_raised():  # so that hidden files are removed
        run_command(command)


class _PrintCard(argparse.Action):
    def __init__(self, *, model: ModelFile, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self._model = model

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(self._model.model_card)
        parser.exit()


def _about(description: Description) -> str:
    labels = ", ".join(f"{name} ({value})" for name, value in description.labels.items())
    return (
        f"Segment images with {description.name}, {len(description.networks)} networks in {description.precision}. "
        f"Expects {', '.join(description.channels)} as {description.file_ending} files; labels: {labels}."
    )
