"""Small networks that multiply in one way each, with the multiply-adds worked out by hand."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

D, T, HEADS = 32, 49, 4
"""Channels, tokens of a grid of 7 x 7 places, heads."""

STEM = 3 * D * 16 * T
HEAD = D * 10

Mix = Callable[[Any, Tensor], Tensor]
"""What a network does with its parts and tokens (1, T, D)."""


class Block(nn.Module):
    """Images of 28 pixels become tokens, are mixed in one way, averaged and classified."""

    def __init__(self, mix: Mix, **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, D, 4, 4)
        self.head = nn.Linear(D, 10)
        self.mix = mix
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        return self.head(self.mix(self, tokens).mean(1))  # type: ignore[no-any-return]  # Module.__call__ is untyped


def image() -> Tensor:
    return torch.zeros(1, 3, 28, 28)


def weight(*sizes: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*sizes))


def heads(tokens: Tensor, number: int = HEADS) -> Tensor:
    """Tokens (1, T, channels) as (1, number, T, channels / number)."""
    batch, length, channels = tokens.shape
    return tokens.reshape(batch, length, number, channels // number).transpose(1, 2)


def joined(tokens: Tensor) -> Tensor:
    return tokens.transpose(1, 2).flatten(2)


def attention(attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> nn.Module:
    def mix(self: Any, tokens: Tensor) -> Tensor:
        query, key, value = (heads(part) for part in self.qkv(tokens).chunk(3, 2))
        return self.out(joined(attend(query, key, value)))  # type: ignore[no-any-return]  # Module.__call__ is untyped

    return Block(mix, qkv=nn.Linear(D, 3 * D), out=nn.Linear(D, D))


PROJECTIONS = T * D * 3 * D + T * D * D
SCORES = T * T * D
ATTENTION = PROJECTIONS + 2 * SCORES


def by_matmul(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.mT).softmax(-1) @ value


def by_bmm(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = torch.bmm(query[0], key[0].transpose(1, 2)).softmax(-1)
    return torch.bmm(scores, value[0])[None]


def by_baddbmm(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = torch.baddbmm(torch.zeros(1, 1, 1), query[0], key[0].mT).softmax(-1)
    return (scores @ value[0])[None]


def by_einsum(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = torch.einsum("bhid,bhjd->bhij", query, key).softmax(-1)
    return torch.einsum("bhij,bhjd->bhid", scores, value)


def by_implicit_einsum(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = torch.einsum("...id,...jd", query, key).softmax(-1)  # i and j are left
    return torch.einsum("...ij, ...jd -> ...id", scores, value)


def by_mm(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    parts = zip(query[0], key[0], value[0], strict=True)
    return torch.stack([torch.mm(torch.mm(q, k.t()).softmax(-1), v) for q, k, v in parts])[None]


fused = functional.scaled_dot_product_attention


def with_mask(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return fused(query, key, value, attn_mask=torch.ones(T, T).tril().bool(), scale=0.1)


def causal(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return fused(query, key, value, is_causal=True)


def grouped(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return fused(query, key[:, :2], value[:, :2], enable_gqa=True)


def two_dimensional(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    parts = zip(query[0], key[0], value[0], strict=True)
    return torch.stack([fused(*part) for part in parts])[None]


ATTENDING = {
    "matmul": by_matmul,
    "bmm": by_bmm,
    "baddbmm": by_baddbmm,
    "einsum": by_einsum,
    "einsum with ellipsis, implicit output": by_implicit_einsum,
    "mm": by_mm,
    "fused": fused,
    "fused with a mask": with_mask,
    "fused and causal": causal,
    "fused with shared keys": grouped,
    "fused without a batch": two_dimensional,
}


def self_attention(*, call: dict[str, Any] | None = None, **options: Any) -> nn.Module:
    def mix(self: Any, tokens: Tensor) -> Tensor:
        if not options.get("batch_first"):
            tokens = tokens.transpose(0, 1)
        mixed = self.layer(tokens, tokens, tokens, **call or {})[0]
        return mixed if options.get("batch_first") else mixed.transpose(0, 1)  # type: ignore[no-any-return]  # Module.__call__ is untyped

    return Block(mix, layer=nn.MultiheadAttention(D, HEADS, **options))


def other_sizes() -> nn.Module:
    """Keys of 8 channels and values of 16, of the first 20 tokens."""

    def mix(self: Any, tokens: Tensor) -> Tensor:
        few = tokens[:, :20]
        return self.layer(tokens, few[..., :8], few[..., :16], need_weights=False)[0]  # type: ignore[no-any-return]  # Module.__call__ is untyped

    layer = nn.MultiheadAttention(D, HEADS, kdim=8, vdim=16, batch_first=True)
    return Block(mix, layer=layer)


def through(layer: nn.Module) -> nn.Module:
    """Tokens go through a layer as they are."""
    return Block(lambda self, tokens: self.layer(tokens), layer=layer)


def recurrent(layer: nn.RNNBase) -> nn.Module:
    """Tokens go through a recurrent layer; of what comes out the first D channels go on."""

    def mix(self: Any, tokens: Tensor) -> Tensor:
        steps = tokens if layer.batch_first else tokens.transpose(0, 1)
        out = self.layer(steps)[0]
        out = out if layer.batch_first else out.transpose(0, 1)
        return functional.pad(out, (0, max(0, D - out.shape[-1])))[..., :D]

    return Block(mix, layer=layer)


def by_cell(cell: nn.Module, steps: int = 5) -> nn.Module:
    def mix(self: Any, tokens: Tensor) -> Tensor:
        state = None
        for step in range(steps):
            state = self.cell(tokens[:, step], state)
        last = state[0] if isinstance(state, tuple) else state
        assert isinstance(last, Tensor)
        return last[:, None]

    return Block(mix, cell=cell)


def by(operate: Callable[[Tensor, Tensor], Tensor], *sizes: int) -> nn.Module:
    """Tokens (T, D) and a weight become tokens (T, D)."""
    return Block(lambda self, tokens: operate(tokens[0], self.weight)[None], weight=weight(*sizes))


ENCODER = ATTENTION + 2 * T * D * 64


def encoder(**options: Any) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(D, HEADS, 64, batch_first=True, **options)


def convolved(layer: nn.Module, *sizes: int) -> nn.Module:
    """The grid of tokens, folded to other sizes, goes through a convolution, whose mean remains."""

    def mix(self: Any, tokens: Tensor) -> Tensor:
        out: Tensor = self.layer(tokens.mT.reshape(1, *sizes))
        return out.flatten(1).mean(1, keepdim=True).expand(-1, D)[:, None]

    return Block(mix, layer=layer)


W = T * D * D
"""Tokens times a square matrix."""

CASES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    **{
        f"attention, {name}": (lambda attend=attend: attention(attend), ATTENTION)  # type: ignore[misc]  # a lambda has no annotation
        for name, attend in ATTENDING.items()
    },
    "MultiheadAttention": (self_attention, ATTENTION),
    "MultiheadAttention, batch first": (lambda: self_attention(batch_first=True), ATTENTION),
    "MultiheadAttention without weights": (
        lambda: self_attention(call={"need_weights": False}, batch_first=True),
        ATTENTION,
    ),
    "MultiheadAttention without biases": (
        lambda: self_attention(call={"need_weights": False}, bias=False),
        ATTENTION,
    ),
    "MultiheadAttention with a mask": (
        lambda: self_attention(call={"attn_mask": torch.zeros(T, T)}, batch_first=True),
        ATTENTION,
    ),
    "MultiheadAttention, causal": (
        lambda: self_attention(
            call={
                "attn_mask": nn.Transformer.generate_square_subsequent_mask(T),
                "is_causal": True,
                "need_weights": False,
            },
            batch_first=True,
        ),
        ATTENTION,
    ),
    "MultiheadAttention with two more keys": (
        lambda: self_attention(add_bias_kv=True, add_zero_attn=True, batch_first=True),
        PROJECTIONS + 2 * T * (T + 2) * D,
    ),
    "MultiheadAttention of other sizes": (
        other_sizes,
        2 * W + 20 * 8 * D + 20 * 16 * D + 2 * T * 20 * D,
    ),
    "TransformerEncoderLayer": (lambda: through(encoder()), ENCODER),
    "TransformerEncoderLayer, norm first": (
        lambda: through(encoder(norm_first=True, activation="gelu")),
        ENCODER,
    ),
    "TransformerEncoder": (
        lambda: through(nn.TransformerEncoder(encoder(), 3, enable_nested_tensor=False)),
        3 * ENCODER,
    ),
    "TransformerDecoderLayer": (
        lambda: Block(
            lambda self, tokens: self.layer(tokens, tokens),
            layer=nn.TransformerDecoderLayer(D, HEADS, 64, batch_first=True),
        ),
        2 * ATTENTION + 2 * T * D * 64,
    ),
    "RNN": (lambda: recurrent(nn.RNN(D, D)), 2 * W),
    "RNN with relu": (lambda: recurrent(nn.RNN(D, D, nonlinearity="relu")), 2 * W),
    "GRU": (lambda: recurrent(nn.GRU(D, D, batch_first=True)), 6 * W),
    "LSTM": (lambda: recurrent(nn.LSTM(D, D, batch_first=True)), 8 * W),
    "LSTM without biases": (lambda: recurrent(nn.LSTM(D, D, bias=False)), 8 * W),
    "LSTM, both directions, two layers": (
        lambda: recurrent(nn.LSTM(D, 16, 2, bidirectional=True)),
        # Each layer, in each direction: 4 gates of 16 from 32 inputs and 16 of the state.
        4 * T * 4 * 16 * (32 + 16),
    ),
    "LSTM that projects, three layers": (
        lambda: recurrent(nn.LSTM(D, 24, 3, proj_size=8, bias=False)),
        T * 4 * 24 * (32 + 8) + 2 * T * 4 * 24 * (8 + 8) + 3 * T * 24 * 8,
    ),
    "GRU of smaller size, two layers": (
        lambda: recurrent(nn.GRU(D, 8, 2, dropout=0.1)),
        T * 3 * 8 * (32 + 8) + T * 3 * 8 * (8 + 8),
    ),
    "RNNCell": (lambda: by_cell(nn.RNNCell(D, D)), 5 * 2 * D * D),
    "GRUCell": (lambda: by_cell(nn.GRUCell(D, D)), 5 * 6 * D * D),
    "LSTMCell": (lambda: by_cell(nn.LSTMCell(D, D)), 5 * 8 * D * D),
    "mm": (lambda: by(torch.mm, D, D), W),
    "matmul": (lambda: by(torch.matmul, D, D), W),
    "matmul by a transposed matrix": (lambda: by(lambda x, w: x @ w.T, D, D), W),
    "linear": (lambda: by(functional.linear, D, D), W),
    "addmm": (lambda: by(lambda x, w: torch.addmm(x, x, w, beta=0.5), D, D), W),
    "addbmm": (
        lambda: by(lambda x, w: torch.addbmm(x, x.expand(3, -1, -1), w), 3, D, D),
        3 * W,
    ),
    "matmul with a broadcast batch": (
        lambda: by(lambda x, w: (x[None] @ w).sum(0), 5, D, D),
        5 * W,
    ),
    "mv": (lambda: by(lambda x, w: x * torch.mv(x, w[0])[:, None], 2, D), T * D),
    "matmul by a vector": (lambda: by(lambda x, w: x * (x @ w[0])[:, None], 2, D), T * D),
    "addmv": (lambda: by(lambda x, w: x * torch.addmv(x[:, 0], x, w[0])[:, None], 2, D), T * D),
    "dot": (lambda: by(lambda x, w: x * torch.dot(x[0], w[0]), 2, D), D),
    "inner": (lambda: by(torch.inner, D, D), W),
    "tensordot": (lambda: by(lambda x, w: torch.tensordot(x, w, dims=([1], [0])), D, D), W),
    "tensordot over two axes": (
        lambda: by(
            lambda x, w: torch.tensordot(x.reshape(T, 4, 8), w, dims=([1, 2], [0, 1])), 4, 8, D
        ),
        W,
    ),
    "einsum": (lambda: by(lambda x, w: torch.einsum("td,df->tf", x, w), D, D), W),
    "einsum of three": (
        # From left to right: td,de->te, then te,te->t element by element.
        lambda: by(lambda x, w: x * torch.einsum("td,de,te->t", x, w, x)[:, None], D, D),
        W + T * D,
    ),
    "einsum with a diagonal": (
        lambda: by(lambda x, w: x * torch.einsum("td,dd->t", x, w)[:, None], D, D),
        T * D,
    ),
    "einsum that sums before": (
        # The weight's f is in nothing else and is summed first.
        lambda: by(lambda x, w: x * torch.einsum("td,df->t", x, w)[:, None], D, D),
        T * D,
    ),
    "einsum that only scales": (lambda: by(lambda x, w: torch.einsum("td,td->td", x, w), T, D), 0),
    "Linear of one vector": (
        lambda: Block(lambda self, x: self.layer(x[0, 0])[None, None], layer=nn.Linear(D, D)),
        D * D,
    ),
    "Bilinear": (
        # 8 x (32, 32) for each token, then the 8 x 32 that come out with the second operand.
        lambda: Block(
            lambda self, x: functional.pad(self.layer(x, x), (0, D - 8)),
            layer=nn.Bilinear(D, D, 8),
        ),
        T * 8 * D * D + T * 8 * D,
    ),
    "Conv1d": (lambda: convolved(nn.Conv1d(D, 6, 3), D, T), 47 * 6 * D * 3),
    "Conv1d, padding by name": (
        lambda: convolved(nn.Conv1d(D, 6, 3, padding="same"), D, T),
        T * 6 * D * 3,
    ),
    "Conv1d, circular": (
        lambda: convolved(nn.Conv1d(D, 6, 3, padding=1, padding_mode="circular"), D, T),
        T * 6 * D * 3,
    ),
    "Conv2d in groups, dilated": (
        lambda: convolved(nn.Conv2d(D, 64, 3, stride=2, dilation=2, groups=8), D, 7, 7),
        2 * 2 * 64 * (D // 8) * 9,
    ),
    "Conv3d": (lambda: convolved(nn.Conv3d(2, 3, 2), 2, 16, 7, 7), 15 * 6 * 6 * 3 * 2 * 8),
    "ConvTranspose1d": (
        lambda: convolved(nn.ConvTranspose1d(D, 6, 3, stride=2), D, T),
        T * D * 6 * 3,
    ),
    "ConvTranspose2d in groups": (
        lambda: convolved(nn.ConvTranspose2d(D, 8, 4, stride=3, groups=4, bias=False), D, 7, 7),
        T * D * 2 * 16,
    ),
    "ConvTranspose3d": (
        lambda: convolved(nn.ConvTranspose3d(2, 3, 2), 2, 16, 7, 7),
        16 * T * 2 * 3 * 8,
    ),
    "Conv2d of one image without a batch": (
        lambda: Block(
            lambda self, x: self.layer(x[0].T.reshape(D, 7, 7)).flatten(1).T[None],
            layer=nn.Conv2d(D, D, 1),
        ),
        W,
    ),
    "unfolded and multiplied": (
        lambda: by(lambda x, w: functional.unfold(x.T.reshape(1, D, 7, 7), 1)[0].T @ w, D, D),
        W,
    ),
    "weight norm": (lambda: through(nn.utils.parametrizations.weight_norm(nn.Linear(D, D))), W),
    "position embedding and scale": (
        lambda: Block(
            lambda self, x: (x + self.place + self.table(torch.arange(T))) * self.scale,
            place=weight(1, T, D),
            table=nn.Embedding(T, D),
            scale=weight(1, D),
        ),
        0,
    ),
}
