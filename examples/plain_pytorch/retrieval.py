"""A training of one's own: embeddings of images, judged by how well they find the same class."""

import torch
from torch.nn import functional
from torch.utils.data import DataLoader


def train(network, data, seed, device, folder, report, epochs, learning_rate=0.1, batch_size=64):
    """Train embeddings so that images of one class lie close; return what a search compares.

    The network's outputs are the embedding. A checkpoint in the folder outlasts a lost process.
    """
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=0.9)
    checkpoint, first = folder / "checkpoint.pt", 1
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1
    for epoch in range(first, epochs + 1):
        order = torch.Generator().manual_seed(1000 * seed + epoch)
        batches = DataLoader(data.train, batch_size, shuffle=True, drop_last=True, generator=order)
        network.train()
        for images, labels in batches:
            optimizer.zero_grad()
            loss = contrast(network(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
        precision = mean_average_precision(network, data.val, device)
        report(epoch, average_precision=precision, contrast=loss)
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state | {"epoch": epoch}, checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").replace(checkpoint)
    metrics = {"average_precision": mean_average_precision(network, data.val, device)}
    if data.test is not None:  # in a confirmation alone
        metrics["test_average_precision"] = mean_average_precision(network, data.test, device)
    return metrics


def contrast(outputs, labels):
    """Return the supervised contrastive loss of a batch (Khosla et al. 2020), temperature 0.2."""
    embedded = functional.normalize(outputs, dim=1)
    similar = embedded @ embedded.T / 0.2
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    logs = similar.masked_fill(itself, -1e9).log_softmax(dim=1)
    same = (labels[:, None] == labels) & ~itself
    return -(logs * same).sum() / same.sum().clamp(min=1)


@torch.no_grad()
def mean_average_precision(network, split, device, most=1000):
    """Return the mean over images of the average precision of all others, nearest first."""
    network.eval()
    images, labels = zip(*(split[i] for i in range(min(most, len(split)))), strict=True)
    parts = [network(part.to(device)) for part in torch.stack(images).split(100)]
    embedded, labels = functional.normalize(torch.cat(parts), dim=1), torch.tensor(labels)
    similar = (embedded @ embedded.T).fill_diagonal_(-2).cpu()  # each itself comes last
    found = (labels[similar.argsort(dim=1, descending=True)] == labels[:, None])[:, :-1].double()
    precision = found.cumsum(dim=1) / torch.arange(1, len(labels))
    return ((precision * found).sum(dim=1) / found.sum(dim=1).clamp(min=1)).mean()
