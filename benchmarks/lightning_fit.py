"""Lightning's Trainer on an exported workload, for comparison. Needs torch, lightning and numpy only.

    python benchmarks/lightning_fit.py mnist.npz --epochs 3 [--compiled] [--channels-last]

The data and the model are those of `torch_loop.py`: whole batches out of a tensor in memory. What costs time and is not
training (progress bar, logger, checkpoints, sanity checks) is off.
"""

import logging
import warnings
from collections.abc import Iterator

import exported_workload
import lightning
import torch
from torch_loop import build, inputs_of, optimizer_of, tensors, test


class Batches(torch.utils.data.IterableDataset):
    """Whole batches in a new order each time, so that no loader has to put them together."""

    def __init__(self, work: exported_workload.Exported, layout: torch.memory_format) -> None:
        self.inputs, self.targets = tensors(work, "train")
        self._size, self._layout = work.config["batch_size"], layout

    def __len__(self) -> int:
        return -(-len(self.inputs) // self._size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for index in torch.randperm(len(self.inputs)).split(self._size):
            yield inputs_of(self.inputs[index], self._layout), self.targets[index]


class Module(lightning.LightningModule):
    """The model and its step."""

    def __init__(
        self, work: exported_workload.Exported, epochs: int, layout: torch.memory_format, compiled: bool
    ) -> None:
        super().__init__()
        self.model = build(work).to(memory_format=layout)
        self._run = torch.compile(self.model, dynamic=False) if compiled else self.model
        self._work, self._epochs = work, epochs

    def on_train_epoch_start(self) -> None:
        self._right = torch.zeros((), dtype=torch.long)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        inputs, targets = batch
        logits = self._run(inputs)
        self._right += (logits.detach().argmax(1) == targets).sum()
        return torch.nn.functional.cross_entropy(logits, targets)

    def configure_optimizers(self) -> dict[str, object]:
        optimizer, advance = optimizer_of(self._work, self.model, self._epochs)
        schedule = getattr(advance, "__self__", None)
        return {"optimizer": optimizer} | (
            {"lr_scheduler": {"scheduler": schedule, "interval": "step"}} if schedule else {}
        )


class Told(lightning.Callback):
    """Tells of each epoch."""

    def __init__(self, examples: int) -> None:
        self._epochs = exported_workload.Epochs(examples)

    def on_train_epoch_start(self, *_: object) -> None:
        self._epochs.begin()

    def on_train_epoch_end(self, *_: object) -> None:
        self._epochs.done()


def main() -> None:
    """Trains and tests."""
    options = exported_workload.options(__doc__, compiled="torch.compile", channels_last="another order in memory")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # it would have more workers, for data that one tensor holds
    lightning.seed_everything(options.seed, verbose=False)
    work = exported_workload.read(options.data)
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    batches, module = Batches(work, layout), Module(work, options.epochs, layout, options.compiled)
    trainer = lightning.Trainer(
        max_epochs=options.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[Told(len(batches.inputs))],
    )
    trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=None))
    exported_workload.tell("evaluation", split="test", metrics=test(module.model, *tensors(work, "test"), layout))


if __name__ == "__main__":
    main()
