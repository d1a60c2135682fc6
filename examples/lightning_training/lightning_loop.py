"""A training by Lightning, whose own metric decides a search."""

import logging
import warnings

import lightning
import torch
from torch.nn import functional
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassF1Score

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # the search has a view of its own


class Classifier(lightning.LightningModule):
    """A network with its loss and its F1, whose mean over classes forgets no rare one."""

    def __init__(self, network, num_classes, learning_rate, report):
        super().__init__()
        self.network, self.learning_rate, self.report = network, learning_rate, report
        self.f1 = MulticlassF1Score(num_classes, average="macro")

    def training_step(self, batch):
        """Return the loss of a batch."""
        images, labels = batch
        return functional.cross_entropy(self.network(images), labels)

    def validation_step(self, batch):
        """Count the predictions of a batch."""
        images, labels = batch
        self.f1.update(self.network(images), labels)

    def on_validation_epoch_end(self):
        """Show the epoch in the search's view, and its F1 as a point of the curve."""
        self.last = self.f1.compute()
        self.f1.reset()
        self.report(self.current_epoch + 1, f1=self.last)

    def configure_optimizers(self):
        """Return the optimizer."""
        return torch.optim.AdamW(self.parameters(), self.learning_rate)


def train(network, data, seed, device, folder, report, epochs, learning_rate=0.003, batch_size=64):
    """Train a network; Lightning keeps a checkpoint in the folder, from which a retry goes on."""
    num_classes = network(data.val[0][0][None].to(device)).shape[1]
    model = Classifier(network, num_classes, learning_rate, report)
    order = torch.Generator().manual_seed(seed)
    kind, _, index = device.partition(":")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on workers and loggers, which a search does without
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator={"cuda": "gpu"}.get(kind, kind),
            devices=[int(index)] if index else 1,
            default_root_dir=folder,
            callbacks=[lightning.pytorch.callbacks.ModelCheckpoint(folder, save_last=True)],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        last = folder / "last.ckpt"
        trainer.fit(
            model,
            DataLoader(data.train, batch_size, shuffle=True, drop_last=True, generator=order),
            DataLoader(data.val, 200),
            ckpt_path=last if last.exists() else None,
        )
    return {"f1": model.last}
