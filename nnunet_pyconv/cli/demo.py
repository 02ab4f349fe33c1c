"""`nnunet_pyconv demo`: the whole chain once."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from nnunet_pyconv.demo.folder import DemoFolder
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import DEVICES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Run the whole chain once through nnU-Net's own code: convert, fingerprint, plan, preprocess, train with "
        "nnUNetTrainerPyConv, validate, predict the test set, evaluate, draw. Needs no environment variable and "
        "leaves your own nnU-Net folders alone."
    )
    parser.add_argument(
        "-i",
        dest="source",
        type=Path,
        metavar="SRC",
        help="folder of the ISBI 2012 data (within 15 minutes on 2 CPU cores); without it, small synthetic data are "
        "made (within 3 minutes)",
    )
    parser.add_argument(
        "-o",
        dest="folder",
        type=Path,
        default=Path("nnunet_pyconv_demo"),
        metavar="DIR",
        help="where everything is written (default: %(default)s)",
    )
    parser.add_argument("-device", choices=DEVICES, help="where the network runs (default: a GPU if there is one)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demo in DIR")


def run(args: argparse.Namespace) -> None:
    """Run the demo and say how to go on by hand."""
    from nnunet_pyconv.device import pick_device  # imports torch, which takes seconds

    device = pick_device(args.device)
    source = None if args.source is None else args.source.absolute()
    folder = DemoFolder(args.folder.absolute())
    with folder.environment():
        # imported here because nnU-Net reads the number of its workers from the environment when it is imported
        from nnunet_pyconv.dataset_conversion import isbi_cell
        from nnunet_pyconv.demo import chain

        if source is not None:
            isbi_cell.find_cases(source)  # before anything of an earlier demo is removed
        folder.prepare(overwrite=args.overwrite)
        try:
            dataset = chain.run(folder, source, device)
            model = chain.model_folder(dataset.name)
        except InputError:  # nothing has been trained yet
            folder.clear()
            raise
    print(_next_steps(folder, source or folder.source, dataset.name, model, device.type))


def _next_steps(folder: DemoFolder, source: Path, dataset: str, model: Path, device: str) -> str:
    from nnunet_pyconv.nnunet_folders import dataset_id  # imports torch, which takes seconds

    number = dataset_id(dataset)
    flag = "" if device == "cuda" else f" -device {device}"
    return f"""Picture: {folder.picture}
What nnU-Net printed: {folder.log}

The same by hand, at nnU-Net's full size:
  export nnUNet_raw="$HOME/nnUNet_raw" nnUNet_preprocessed="$HOME/nnUNet_preprocessed" nnUNet_results="$HOME/nnUNet_results"
  mkdir -p "$nnUNet_raw" "$nnUNet_preprocessed" "$nnUNet_results"
  export nnUNet_extTrainer="$(nnunet_pyconv trainer_dir)"
  nnunet_pyconv convert isbi_cell -i {shlex.quote(str(source))}
  nnUNetv2_plan_and_preprocess -d {number} -c 2d --verify_dataset_integrity
  nnUNetv2_train {number} 2d 0 -tr nnUNetTrainerPyConv{flag}
  nnUNetv2_predict -d {number} -c 2d -f 0 -tr nnUNetTrainerPyConv{flag} \\
      -i "$nnUNet_raw/{dataset}/imagesTs" -o predictions
  nnUNetv2_evaluate_folder "$nnUNet_raw/{dataset}/labelsTs" predictions \\
      -djfile predictions/dataset.json -pfile predictions/plans.json

The model that was trained here, in your browser (needs the extra onnx, and npm for a package of its own):
  npm pack onnxruntime-web
  nnunet_pyconv export {shlex.quote(str(model))} \\
      --web page --onnxruntime_web onnxruntime-web-*.tgz
  python -m http.server -d page    # open http://localhost:8000 and drop an image of
                                   # {folder.raw / dataset / "imagesTs"}"""  # noqa: E501  # lines to paste
