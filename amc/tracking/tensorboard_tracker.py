"""TensorBoard: ``tensorboard --logdir outputs/<name>`` shows the policies of a study in the same charts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from amc.tracking.make import require
from amc.tracking.public_config import public_config
from amc.tracking.tracker import Ending, Figures, TrackedRun

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


@dataclass
class TensorboardTracker:
    """Writes the event files of TensorBoard into the run's folder.

    Attributes:
        flush_seconds: what was reported is on disk after this time.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    flush_seconds: int = 5

    def __post_init__(self) -> None:
        require("tensorboard", "tensorboard", "amc-search[tensorboard]")
        self._writer: SummaryWriter | None = None

    def start(self, run: TrackedRun) -> None:
        """Open the event file and write the configuration; files of an earlier run in the folder are removed."""
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / FOLDER
        for earlier in folder.glob("events.out.tfevents.*"):
            earlier.unlink()
        self._writer = SummaryWriter(str(folder), flush_secs=self.flush_seconds)
        config = OmegaConf.to_yaml(OmegaConf.create(public_config(run.folder)))
        # Four spaces are Markdown for text as it is.
        self._writer.add_text("config", "".join(f"    {line}\n" for line in config.splitlines()))
        self._writer.add_text("tags", ", ".join(run.tags))

    def __call__(self, trial: int, figures: Figures) -> None:
        """Write the figures against the trial's index."""
        for name, figure in figures.items():
            self._opened.add_scalar(f"search/{name}", figure, trial)

    def finish(self, ending: Ending | None) -> None:
        """Write the rest, or close the file as it is."""
        if ending is not None:
            self._write(ending)
        self._opened.close()

    def _write(self, ending: Ending) -> None:
        import numpy as np
        from PIL import Image

        for name, figure in ending.summary.items():
            self._opened.add_scalar(f"result/{name}", figure, 0)
        rows = [f"| {layer} | {keep:.4f} | {kept} | {of} |" for layer, keep, kept, of in ending.strategy]
        table = "\n".join(["| layer | keep | kept | of |", "|---|---:|---:|---:|", *rows])
        self._opened.add_text("strategy", table)
        for picture in ending.pictures:
            with Image.open(picture) as image:
                self._opened.add_image(f"pictures/{picture.stem}", np.asarray(image.convert("RGB")), dataformats="HWC")

    @property
    def _opened(self) -> "SummaryWriter":
        if self._writer is None:
            raise RuntimeError("the tracker was not started")
        return self._writer
