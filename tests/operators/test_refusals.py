"""What cannot be counted is refused by its name, and how a user gives a count."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import flop_registry, register_flop_formula

from scaling_search.operators.products import COUNTED, UncountedError
from scaling_search.operators.trace import Operation, traced
from scaling_search.operators.without_products import WITHOUT_PRODUCTS
from scaling_search.operators.witness import confirm
from tests.operators.blocks import STEM, Block, D, T, by, image, through, weight


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, matrix: Tensor) -> Tensor:
        ctx.save_for_backward(tokens, matrix)
        return tokens @ matrix


class Distances(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return torch.cdist(tokens, tokens)[..., :D]


@torch.library.custom_op("scaling_search_tests::scan", mutates_args=())
def scan(
    tokens: Tensor, matrix: Tensor, times: int = 1, note: str = "", *, scale: float = 1.0
) -> Tensor:
    del note
    product: Tensor = scale * tokens @ torch.linalg.matrix_power(matrix, times)
    return product


@scan.register_fake
def _(
    tokens: Tensor, matrix: Tensor, times: int = 1, note: str = "", *, scale: float = 1.0
) -> Tensor:
    del matrix, times, note, scale
    return torch.empty_like(tokens)


@register_flop_formula(torch.ops.scaling_search_tests.scan)
def scan_flop(
    tokens_shape: list[int],
    matrix_shape: list[int],
    times: int = 1,
    *_: Any,
    out_shape: list[int],
    **__: Any,
) -> int:
    assert out_shape == tokens_shape
    return 2 * times * tokens_shape[0] * matrix_shape[0] * matrix_shape[1]


@torch.library.custom_op("scaling_search_tests::odd", mutates_args=())
def odd(tokens: Tensor) -> Tensor:
    return tokens.clone()


@register_flop_formula(torch.ops.scaling_search_tests.odd)
def odd_flop(*_: Any, **__: Any) -> int:
    return 3


def compiled(module: nn.Module) -> nn.Module:
    module.compile()
    return module


def multiplied_in_place(tokens: Tensor, matrix: Tensor) -> Tensor:
    pairs = tokens[:, None].repeat(1, D, 1)
    pairs *= matrix
    return pairs.sum(-1)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a distance": (
        lambda: by(lambda x, w: x * torch.cdist(x, w)[:, :1], D, D),
        "got aten::cdist in the network itself; give the count of torch.ops.aten.cdist by",
    ),
    "a Fourier transform": (
        lambda: by(lambda x, w: torch.fft.fft2(x).real @ w, D, D),
        "got aten::fft_fft2 in",
    ),
    "a decomposition": (
        lambda: by(lambda x, w: x @ torch.linalg.qr(w)[0], D, D),
        "aten::linalg_qr",
    ),
    "a power of a matrix": (
        lambda: by(lambda x, w: x @ torch.matrix_exp(w), D, D),
        "got aten::linalg_matrix_exp in",
    ),
    "a chain of matrices": (
        lambda: by(lambda x, w: torch.linalg.multi_dot([x, w, w]), D, D),
        "got aten::linalg_multi_dot in",
    ),
    "a sparse matrix": (
        lambda: by(lambda x, w: torch.sparse.mm(w.to_sparse(), x.T).T, D, D),
        "got aten::to_sparse in",
    ),
    "a bag of embeddings": (
        lambda: Block(
            lambda self, x: x + self.bag(torch.zeros(T, 2).long())[None],
            bag=nn.EmbeddingBag(5, D),
        ),
        "got aten::embedding_bag in module 'bag'",
    ),
    "in a module inside": (
        lambda: through(nn.Sequential(nn.Identity(), Distances())),
        "got aten::cdist in module 'layer.1'; give",
    ),
    "a convolution over time": (
        lambda: by(lambda x, w: torch.conv_tbc(x[:, None], w[None], w[0])[:, 0], D, D),
        "got aten::conv_tbc in",
    ),
    "an autograd function": (
        lambda: by(Doubled.apply, D, D),
        "got Doubled (a torch.autograd.Function) in the network itself; call torch's operators",
    ),
    "complex numbers": (
        lambda: by(lambda x, w: (torch.complex(x, x) @ torch.complex(w, w)).real, D, D),
        "must multiply real numbers, got complex ones of aten::matmul in the network itself",
    ),
    "a product by multiplying and adding": (
        lambda: by(lambda x, w: (x[:, :, None] * w).sum(1), D, D),
        "got a sum over aten::mul in the network itself; write it as torch.matmul",
    ),
    "a scripted module": (
        lambda: through(torch.jit.script(nn.Linear(D, D))),
        "got one of torch.jit in module 'layer'; give it as it was before torch.jit",
    ),
    "a traced module": (
        lambda: through(
            torch.jit.trace(nn.Linear(D, D), torch.zeros(1, T, D))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        ),
        "got one of torch.jit in module 'layer'",
    ),
    "a compiled module": (
        lambda: through(cast(nn.Module, torch.compile(nn.Linear(D, D)))),
        "got one of torch.compile in module 'layer'; give it as it was before torch.compile",
    ),
    "a module that is compiled in its place": (
        lambda: through(compiled(nn.Linear(D, D))),
        "got one of torch.compile in module 'layer'",
    ),
    "a formula of no use": (
        lambda: Block(lambda _, x: odd(x)),
        "of scaling_search_tests::odd must give twice its multiply-adds, an even whole numb",
    ),
    "a module that is never called": (
        lambda: Block(lambda _, x: x, spare=nn.Linear(D, 7)),
        "got 'spare.weight' of shape (7, 32) in no operator",
    ),
    "a result that is thrown away": (
        lambda: by(lambda x, w: (x @ w, x)[1], D, D),
        "got 'weight' of shape (32, 32) in no operator",
    ),
    "a weight that is only measured": (
        lambda: by(lambda x, w: x + torch.ones_like(w).sum(), D, D),
        "got 'weight' of shape (32, 32) in no operator",
    ),
    "a product outside of torch": (
        lambda: by(
            lambda x, w: x + torch.from_numpy(x.detach().numpy() @ w.detach().numpy()), D, D
        ),
        "got 'weight' of shape (32, 32) in no operator",
    ),
    "a head for training alone": (
        lambda: Block(
            lambda self, x: self.auxiliary(x) if self.training else x, auxiliary=nn.Linear(D, D)
        ),
        "got 'auxiliary.weight' of shape (32, 32) in no operator",
    ),
}


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_counted_is_refused_by_name(name: str) -> None:
    torch.manual_seed(0)
    build, said = REFUSED[name]
    with pytest.raises(UncountedError) as refused:
        traced(build().eval(), image())
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


WRITTEN_OUT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "expanded": lambda x, w: (x[:, None].expand(T, D, D) * w.expand(T, D, D)).sum(-1),
    "repeated": lambda x, w: (x[:, None].repeat(1, D, 1) * w).sum(-1),
    "in place": multiplied_in_place,
    "in another order": lambda x, w: (x[:, None] * w).transpose(1, 2).sum(1),
    "scaled": lambda x, w: (2 * (x[:, None] * w) / 4 + 1).mean(-1),
    "divided": lambda x, w: (x[:, None] / (w + 10)).sum(-1),
    "running": lambda x, w: (x[:, None] * w).cumsum(-1)[..., -1],
    "pooled": lambda x, w: functional.avg_pool1d(x[:, None] * w, D)[..., 0],
    "on top of something": lambda x, w: torch.addcmul(x[:, :1, None], x[:, None], w).sum(-1),
    "a distance": lambda x, w: ((x[:, None] - w) ** 2).sum(-1),
    "a difference by itself": lambda x, w: ((x[:, None] - w) * (x[:, None] - w) / 2).sum(-1),
    "absolute differences": lambda x, w: (w - x[:, None]).abs().sum(-1),
    "a norm of differences": lambda x, w: (x[:, None] - w).norm(dim=-1),
    "distances of pairs": lambda x, w: functional.pairwise_distance(x[:, None], w),
    "angles of pairs": lambda x, w: functional.cosine_similarity(x[:, None], w, dim=-1),
}


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_a_product_of_matrices_that_is_written_out_is_refused(name: str) -> None:
    with pytest.raises(
        UncountedError, match=r"must multiply matrices .* in the network itself; wr"
    ):
        traced(by(WRITTEN_OUT[name], D, D).eval(), image())


@pytest.mark.parametrize(
    "operate",
    [
        lambda x, w: x * (x.mean(0) @ w).sigmoid(),
        lambda x, w: (x * torch.ones(T, 1)).sum(0, keepdim=True) @ w,
        lambda x, w: (x * (x[:, :1] * x[:1]).sigmoid()).mean(0, keepdim=True) @ w,
        lambda x, w: (x - x.mean(0)).square().sum(0, keepdim=True) @ w,
        lambda x, w: x @ w + (x[..., None] * torch.ones(3)).sum(0)[:, 0],
        lambda x, w: x @ w + (torch.ones(5, 1, 2) - torch.ones(1, 5, 2)).sum(),
        lambda x, w: functional.cosine_similarity(x, x[:1], dim=-1)[:, None] * (x @ w),
    ],
    ids=["gate", "mask", "two gates", "variance", "spread", "places", "similar to one"],
)
def test_what_is_no_sum_over_pairs_costs_nothing(
    operate: Callable[[Tensor, Tensor], Tensor],
) -> None:
    trace = traced(by(operate, D, D).eval(), image())
    assert [one.kind for one in trace.operations].count("aten::matmul") == 1


def test_a_product_that_the_logits_do_not_need_is_told_by_the_second_counter() -> None:
    network = Block(lambda _, x: (x @ x.mT, x)[1]).eval()
    rule = r"^the flops of base_network must be .* got 0 of no operator instead of 76,832 of aten"
    with pytest.raises(RuntimeError, match=rule + r"\.bmm in the network itself;"):
        confirm(network, image(), traced(network, image()))


def test_a_sum_of_products_element_by_element_costs_nothing() -> None:
    scaled = by(lambda x, w: x * (x * w).sum(1, keepdim=True), 1, D).eval()
    assert traced(scaled, image()).flops == traced(Block(lambda _, x: x).eval(), image()).flops


@pytest.mark.parametrize(
    ("operate", "number"),
    [
        (scan, T * D * D),
        (lambda x, w: scan(x, w, 3), 3 * T * D * D),
        (lambda x, w: scan(x, w, 2, "slow", scale=0.5), 2 * T * D * D),
    ],
)
def test_a_user_gives_a_count_as_to_torch(
    operate: Callable[[Tensor, Tensor], Tensor], number: int
) -> None:
    network = by(operate, D, D).eval()
    trace = traced(network, image())
    assert trace.operations[1] == Operation(
        "scaling_search_tests::scan", "", number, T * D, 2 * number
    )
    assert trace.flops == STEM + number + D * 10
    confirm(network, image(), trace)


def test_an_operator_of_torch_that_is_made_of_others_can_be_given_a_count() -> None:
    packet = torch.ops.aten.affine_grid_generator
    network = Block(
        lambda self, x: (
            x + functional.affine_grid(self.theta, [1, 1, 4, 4], align_corners=False).sum()
        ),
        theta=weight(1, 2, 3),
    ).eval()
    with pytest.raises(UncountedError, match="aten::affine_grid_generator"):
        traced(network, image())
    register_flop_formula(packet)(lambda *_, out_shape, **__: 2 * 3 * 4 * 4 * out_shape[-1])
    try:
        trace = traced(network, image())
        assert trace.operations[1].flops == 3 * 4 * 4 * 2
        confirm(network, image(), trace)
    finally:
        del flop_registry[packet]


def test_each_operator_is_counted_or_has_no_products() -> None:
    assert not {kind.removeprefix("aten::") for kind in COUNTED} & WITHOUT_PRODUCTS
