"""Trains an exported workload with Lightning's Trainer. Requires only torch, lightning and NumPy.

    python benchmarks/lightning_fit.py mnist.npz --epochs 3 [--compiled] [--channels-last]

The data and the model are those of `torch_loop.py`: whole batches from one tensor in memory. Everything that takes time
and is not training is disabled: progress bar, logger, checkpoints, sanity checks.
"""

import logging
import warnings
from collections.abc import Iterator

import exported_workload
import lightning
import torch
from torch_loop import build, build_optimizer, evaluate, load_split, prepare_inputs


class Batches(torch.utils.data.IterableDataset):
    """Whole batches in a new order per epoch, so that the loader does not have to collate examples."""

    def __init__(self, work: exported_workload.ExportedWorkload, memory_format: torch.memory_format) -> None:
        self.inputs, self.targets = load_split(work, "train")
        self._size, self._memory_format = work.config["batch_size"], memory_format

    def __len__(self) -> int:
        return -(-len(self.inputs) // self._size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for indices in torch.randperm(len(self.inputs)).split(self._size):
            yield prepare_inputs(self.inputs[indices], self._memory_format), self.targets[indices]


class Module(lightning.LightningModule):
    """The model and its training step."""

    def __init__(
        self,
        work: exported_workload.ExportedWorkload,
        epochs: int,
        memory_format: torch.memory_format,
        compiled: bool,
    ) -> None:
        super().__init__()
        self.model = build(work).to(memory_format=memory_format)
        self._training_model = torch.compile(self.model, dynamic=False) if compiled else self.model
        self._work, self._epochs = work, epochs

    def on_train_epoch_start(self) -> None:
        self._correct = torch.zeros((), dtype=torch.long)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        inputs, targets = batch
        logits = self._training_model(inputs)
        self._correct += (logits.detach().argmax(1) == targets).sum()
        return torch.nn.functional.cross_entropy(logits, targets)

    def configure_optimizers(self) -> dict[str, object]:
        optimizer, advance = build_optimizer(self._work, self.model, self._epochs)
        schedule = getattr(advance, "__self__", None)
        return {"optimizer": optimizer} | (
            {"lr_scheduler": {"scheduler": schedule, "interval": "step"}} if schedule else {}
        )


class EpochReports(lightning.Callback):
    """Prints one JSON document per epoch."""

    def __init__(self, examples: int) -> None:
        self._timer = exported_workload.EpochTimer(examples)

    def on_train_epoch_start(self, *_: object) -> None:
        self._timer.start()

    def on_train_epoch_end(self, *_: object) -> None:
        self._timer.stop()


def main() -> None:
    """Trains, and evaluates the test split."""
    options = exported_workload.parse_arguments(
        __doc__, compiled="use torch.compile", channels_last="use the channels-last memory format"
    )
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # Lightning recommends more workers, which data in one tensor does not need
    lightning.seed_everything(options.seed, verbose=False)
    work = exported_workload.read(options.data)
    memory_format = torch.channels_last if options.channels_last else torch.contiguous_format
    batches, module = Batches(work, memory_format), Module(work, options.epochs, memory_format, options.compiled)
    trainer = lightning.Trainer(
        max_epochs=options.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[EpochReports(len(batches.inputs))],
    )
    trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=None))
    metrics = evaluate(module.model, *load_split(work, "test"), memory_format)
    exported_workload.emit("evaluation", split="test", metrics=metrics)


if __name__ == "__main__":
    main()
