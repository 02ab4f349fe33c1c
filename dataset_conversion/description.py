"""What a dataset is: the part of a converter that is data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetDescription:
    """What a converter says about its dataset, for the command line and for `dataset.json`.

    Attributes:
        dataset_id: nnU-Net's dataset ID, unless the user chooses another.
        name: Name of the dataset.
        channel: Name of the one channel; it decides nnU-Net's normalisation: `CT`'s own, z-score for most.
        foreground: Name of label 1: where the masks are not 0.
        complement: What the rest of the image is called where a user may train on it instead; None where not.
        file_ending: `.png` or `.tif`.
        text: What the data are.
        reference: Where they come from.
        licence: Under which terms.
    """

    dataset_id: int
    name: str
    channel: str
    foreground: str
    file_ending: str
    text: str
    reference: str
    licence: str
    complement: str | None = None

    @property
    def foregrounds(self) -> tuple[str, ...]:
        """Names that label 1 can have; the first is the default."""
        return (self.foreground,) if self.complement is None else (self.foreground, self.complement)
