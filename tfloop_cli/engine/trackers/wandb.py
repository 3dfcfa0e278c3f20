"""Weights & Biases: one W&B run per run, with the same id."""

import importlib
import os
import shutil
from collections.abc import Mapping
from typing import Any, Literal

from tfloop_cli.registry import trackers
from tfloop_cli.tracking.tracker import FAILED, TrackedRun

_PROJECT = "tfloop"
_SETTINGS = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}  # unless the user has set them
_START_SECONDS = 30.0


@trackers.register("wandb")
class WandbTracker:
    """Weights & Biases: config, metrics and the status of the run. Needs `pip install wandb`.

    The key comes from WANDB_API_KEY or `wandb login`. Offline runs are in the folder `wandb` of the run folder, for
    `wandb sync`; a resumed run writes a new one from its first step, which replaces one that was not synced. Online,
    a resumed run continues its W&B run: steps that W&B already has keep their first values.

    Args:
        project: null: WANDB_PROJECT, else `tfloop`.
        entity: the user or team; null: WANDB_ENTITY, else the default of the user.
        mode: null: WANDB_MODE, else `online`.
    """

    packages: Mapping[str, str] = {"wandb": "wandb"}

    def __init__(
        self, *, project: str | None = None, entity: str | None = None, mode: Literal["online", "offline"] | None = None
    ) -> None:
        self._project = project or os.environ.get("WANDB_PROJECT") or _PROJECT
        self._entity = entity
        self._mode = mode or os.environ.get("WANDB_MODE") or "online"

    def load(self) -> None:
        """Imports W&B, which takes a second."""
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        self._wandb: Any = importlib.import_module("wandb")

    def start(self, run: TrackedRun) -> str:
        """Opens the W&B run."""
        self.load()
        for folder in (run.folder / "wandb").glob(f"offline-run-*-{run.id}"):
            if not any(folder.glob("*.synced")):
                shutil.rmtree(folder, ignore_errors=True)
        settings = self._wandb.Settings(
            init_timeout=_START_SECONDS, console="off", disable_code=True, disable_git=True, x_disable_stats=True,
            x_disable_machine_info=True, save_code=False,
        )  # fmt: skip
        self._run: Any = self._wandb.init(
            id=run.id, name=run.name, project=self._project, entity=self._entity, mode=self._mode, resume="allow",
            config=dict(run.params), allow_val_change=True, dir=str(run.folder), settings=settings,
        )  # fmt: skip
        self._first_step = int(self._run.starting_step or 0)
        if self._mode == "offline":
            return f"offline; `wandb sync {self._run.settings.sync_dir}`"
        return str(self._run.url)

    def log(self, step: int, metrics: Mapping[str, float], time: float) -> None:
        """Logs a point; W&B refuses a step before the last one that it has."""
        if step >= self._first_step:
            self._run.log(dict(metrics), step=step)
        for name, value in metrics.items():
            if name.startswith("test/"):
                self._run.summary[name] = value

    def finish(self, status: str) -> None:
        """Sends what is left, and closes the W&B run."""
        self._run.finish(exit_code=1 if status == FAILED else 0)
