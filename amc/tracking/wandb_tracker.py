"""Weights & Biases: one run a search, grouped by study, so that the policies of a sweep share their panels."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from amc.errors import ConfigError
from amc.tracking.make import require
from amc.tracking.public_config import public_config
from amc.tracking.tracker import Ending, Figures, TrackedRun

if TYPE_CHECKING:
    import wandb

Mode = Literal["online", "offline"]
MODES = ("auto", "online", "offline")
PROJECT = "amc-search"
# Of W&B's server: a longer tag or name is refused.
TAG_LETTERS, NAME_LETTERS = 64, 128
INIT_SECONDS, FINISH_SECONDS = 15.0, 25.0


@dataclass
class WandbTracker:
    """Reports to W&B. Its files lie in the run's folder; ``wandb sync`` uploads those that were written offline.

    Attributes:
        mode: ``online``, ``offline``, or ``auto`` for what ``WANDB_MODE`` says, else online for who is logged in.
        project: none for ``WANDB_PROJECT``, else amc-search.
        entity: user or team; none for ``WANDB_ENTITY``, else the account's own.

    Raises:
        ConfigError: there is no such mode, or W&B is not installed.
    """

    mode: str = "auto"
    project: str | None = None
    entity: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"tracker.mode={self.mode}: must be one of {', '.join(MODES)}")
        require("wandb", "wandb", "wandb>=0.31")
        self._run: wandb.Run | None = None

    def start(self, run: TrackedRun) -> None:
        """Open a run of the study's group, its job type the policy.

        Raises:
            wandb.Error: the server does not answer, or refuses.
        """
        # Staged files too, so that what is synced later is in one place.
        os.environ["WANDB_DATA_DIR"] = os.environ["WANDB_CACHE_DIR"] = str(run.folder / "wandb")
        # To greet the user, a login asks the server for a name.
        os.environ["WANDB_SILENT"] = "true"
        import wandb

        settings = wandb.Settings(
            init_timeout=INIT_SECONDS,
            finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
            console="off",
            silent=True,
            # They would describe the process of the tracker, not of the search.
            x_disable_stats=True,
            disable_code=True,
            disable_git=True,
        )
        self._run = wandb.init(
            project=self.project or os.environ.get("WANDB_PROJECT") or PROJECT,
            entity=self.entity,
            dir=run.folder,
            mode=self._mode(),
            group=run.study[:NAME_LETTERS],
            job_type=run.policy[:TAG_LETTERS],
            name=run.name[:NAME_LETTERS],
            tags=[tag[:TAG_LETTERS] for tag in run.tags],
            config=public_config(run.folder),
            settings=settings,
        )
        self._run.define_metric("trial")
        self._run.define_metric("*", step_metric="trial")

    def __call__(self, trial: int, figures: Figures) -> None:
        """Log the figures against the trial's index."""
        self._opened.log({"trial": trial, **figures}, step=trial, commit=True)

    def finish(self, ending: Ending | None) -> None:
        """Send the rest, or close the run as failed.

        Raises:
            wandb.Error: not all of it can be sent in time.
        """
        if ending is None:
            self._opened.finish(exit_code=1)
            return
        import wandb

        self._opened.summary.update(ending.summary)
        table = wandb.Table(columns=["layer", "keep", "kept", "of"], data=[list(row) for row in ending.strategy])
        pictures = {f"pictures/{picture.stem}": wandb.Image(str(picture)) for picture in ending.pictures}
        self._opened.log({"strategy": table, **pictures})
        self._opened.log_artifact(self._model(ending.model, ending.summary))
        self._opened.finish()

    def _mode(self) -> Mode | None:
        """Return the mode for ``wandb.init``; none for what ``WANDB_MODE`` says."""
        import wandb

        if self.mode != "auto":
            return "online" if self.mode == "online" else "offline"
        if os.environ.get("WANDB_MODE"):
            return None
        return "online" if wandb.login(prompt=False, verify=False) else "offline"

    def _model(self, path: Path, figures: Figures) -> "wandb.Artifact":
        import wandb

        name = re.sub(r"[^\w.-]", "_", f"{self._opened.name}", flags=re.ASCII)
        artifact = wandb.Artifact(name[:NAME_LETTERS], type="model", metadata=dict(figures))
        # The file stays where it is: no copy in a cache.
        artifact.add_file(str(path), policy="immutable", skip_cache=True)
        return artifact

    @property
    def _opened(self) -> "wandb.Run":
        if self._run is None:
            raise RuntimeError("the tracker was not started")
        return self._run
