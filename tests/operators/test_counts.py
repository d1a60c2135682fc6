"""What networks multiply against counts by hand and by torch, while evaluating and training."""

from typing import Any

import pytest
import torch
from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from scaling_search.base_networks.traced import layers_of, traced_logits
from scaling_search.core.network import Layer, training_flops
from scaling_search.operators.einsum import contractions
from scaling_search.operators.trace import traced
from scaling_search.operators.witness import confirm, step_flops
from tests.base_networks.families import SMALL, family, written_out
from tests.operators.blocks import CASES, HEAD, STEM, D, T, image, recurrent, self_attention

ELEMENT_BY_ELEMENT_BACKWARD = {"mv", "matmul by a vector", "addmv", "dot"}
"""The gradient of one of their operands is no product."""


def traced_layers(network: nn.Module, image: Tensor) -> tuple[list[Layer], object]:
    """The layers of a network by its trace, and what came out."""
    trace, logits = traced_logits(network, image)
    return layers_of(network, trace), logits


@pytest.mark.parametrize("training", [False, True], ids=["evaluating", "training"])
@pytest.mark.parametrize("name", CASES)
def test_a_count_is_the_one_by_hand_and_by_torch(name: str, training: bool) -> None:
    torch.manual_seed(0)
    build, by_hand = CASES[name]
    network = build().train(training)
    layers, logits = traced_layers(network, image())
    assert isinstance(logits, Tensor)
    assert logits.shape == (1, 10)
    assert sum(layer.flops for layer in layers) == STEM + by_hand + HEAD
    assert sum(layer.params for layer in layers) == sum(p.numel() for p in network.parameters())
    confirm(network, image(), traced(network, image()))


@pytest.mark.parametrize("name", sorted(CASES.keys() - ELEMENT_BY_ELEMENT_BACKWARD - {"Bilinear"}))
def test_a_training_step_costs_each_product_once_more_for_each_gradient(name: str) -> None:
    torch.manual_seed(0)
    network = CASES[name][0]().eval()
    layers, _ = traced_layers(network, image())
    assert training_flops(layers) == step_flops(network, image())


def test_what_is_not_learned_costs_no_gradient() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1).requires_grad_(requires_grad=False),
        nn.Conv2d(4, 5, 1),
        nn.Conv2d(5, 6, 1).requires_grad_(requires_grad=False),
        nn.Flatten(),
        nn.Linear(6, 10),
    )
    layers, _ = traced_layers(network, torch.zeros(1, 3, 1, 1))
    assert [layer.backward for layer in layers] == [0, 20, 30, 120]
    assert training_flops(layers) == step_flops(network, torch.zeros(1, 3, 1, 1))


def test_counting_leaves_torch_and_the_network_as_they_were() -> None:
    network = self_attention().eval()
    for parameter in list(network.parameters())[-2:]:
        parameter.requires_grad = False
    before = {name: p.requires_grad for name, p in network.named_parameters()}
    for is_fast in (True, False):
        torch.backends.mha.set_fastpath_enabled(is_fast)
        try:
            confirm(network, image(), traced(network, image()))
            assert torch.backends.mha.get_fastpath_enabled() == is_fast
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
    assert {name: p.requires_grad for name, p in network.named_parameters()} == before
    assert torch._C._get_flash_sdp_enabled()  # noqa: SLF001 - its public name has no types
    assert torch._C._get_mkldnn_enabled()  # noqa: SLF001 - no public face tells it
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())  # noqa: SLF001 - no public face tells it
    assert not torch.is_inference_mode_enabled()


def test_activations_are_what_products_put_out() -> None:
    fused, written = (CASES[f"attention, {name}"][0]().eval() for name in ("fused", "matmul"))
    # The stem, three and one projections, scores of four heads, their values, ten logits.
    by_hand = T * D + 4 * T * D + 4 * T * T + T * D + 10
    assert traced(fused, image()).activations == traced(written, image()).activations == by_hand
    lstm = CASES["LSTM"][0]().eval()
    assert traced(lstm, image()).activations == T * D + 2 * T * 4 * D + 10


@pytest.mark.parametrize("name", SMALL)
def test_the_networks_of_this_package_have_fvcores_counts(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = family(name)
    network, size = architecture.build().eval(), architecture.resolution
    images = torch.zeros(1, 3, size, size)
    trace = traced(network, images)
    confirm(network, images, trace)
    monkeypatch.setattr(functional, "scaled_dot_product_attention", written_out)
    for analysis, counted in (
        (FlopCountAnalysis(network, images), trace.flops),
        (ActivationCountAnalysis(network, images), trace.activations),
    ):
        analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False)
        by_operator = analysis.by_operator()
        assert sum(by_operator[n] for n in ("conv", "linear", "addmm", "matmul")) == counted


@st.composite
def equations(draw: st.DrawFn) -> tuple[str, list[list[int]]]:
    """An equation that torch takes, and shapes for it."""
    sizes = {label: draw(st.integers(1, 4)) for label in "abcde"}
    terms, shapes = [], []
    broadcast = draw(st.lists(st.integers(1, 3), max_size=2))
    for _ in range(draw(st.integers(1, 4))):
        labels = draw(st.lists(st.sampled_from("abcde"), max_size=4))
        shape = [draw(st.sampled_from([sizes[label], 1])) for label in labels]
        # A diagonal's sizes must be equal.
        shape = [shape[labels.index(label)] for label in labels]
        if draw(st.booleans()):
            at = draw(st.integers(0, len(labels)))
            rest = broadcast[draw(st.integers(0, len(broadcast))) :]
            labels.insert(at, "...")
            shape[at:at] = [draw(st.sampled_from([size, 1])) for size in rest]
        terms.append("".join(labels))
        shapes.append(shape)
    equation = ",".join(terms)
    if draw(st.booleans()):
        used = sorted({label for term in terms for label in term} - {"."})
        kept = draw(st.permutations(used)) if used else []
        kept = kept[: draw(st.integers(0, len(kept)))]
        if "..." in equation:
            kept.insert(draw(st.integers(0, len(kept))), "...")
        equation += " -> " + "".join(kept)
    return equation, shapes


@settings(derandomize=True, deadline=None, max_examples=200)
@given(equations())
def test_an_einsum_is_what_torch_makes_of_it(drawn: tuple[str, list[list[int]]]) -> None:
    equation, shapes = drawn
    with FlopCounterMode(display=False) as counter:
        result = torch.einsum(equation, *(torch.zeros(shape) for shape in shapes))
    found = list(contractions(equation, shapes, None))
    assert 2 * sum(one.flops for one in found) == counter.get_total_flops()
    if len(shapes) == 2 and found:
        assert found[0].outputs == result.numel()


def test_the_order_of_an_einsum_can_be_given() -> None:
    equation, shapes = "ab,bc,cd->ad", [[2, 3], [3, 4], [4, 5]]
    left_first = [one.flops for one in contractions(equation, shapes, None)]
    right_first = list(contractions(equation, shapes, [1, 2, 0, 1]))
    assert left_first == [2 * 3 * 4, 2 * 4 * 5]
    assert [one.flops for one in right_first] == [3 * 4 * 5, 2 * 3 * 5]
    assert [(one.left, one.right) for one in right_first] == [((1,), (2,)), ((0,), (1, 2))]


class Stack(nn.Module):
    """Tokens go through blocks; what comes out of each is joined to tokens of D channels."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, D, 4, 4)
        for block in blocks:
            del block.stem, block.head
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(D, 10)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        for block in self.blocks:
            mix: Any = block.mix
            tokens = mix(block, tokens)
        return self.head(tokens.mean(1))  # type: ignore[no-any-return]  # Module.__call__ is untyped


flags = st.booleans()
recurrent_layers = st.builds(
    lambda kind, size, layers, both, first, bias: recurrent(
        kind(D, size, layers, bidirectional=both, batch_first=first, bias=bias)
    ),
    st.sampled_from([nn.RNN, nn.GRU, nn.LSTM]),
    st.integers(1, 9),
    st.integers(1, 3),
    flags,
    flags,
    flags,
)
attention_layers = st.builds(
    lambda first, bias, more, zero, weights: self_attention(
        call={"need_weights": weights},
        batch_first=first,
        bias=bias,
        add_bias_kv=more,
        add_zero_attn=zero,
    ),
    *[flags] * 5,
)
others = st.sampled_from(sorted(name for name, (_, n) in CASES.items() if n and "Conv" not in name))


def keeps_tokens(block: Any) -> bool:
    with torch.inference_mode():
        return bool(block.mix(block, torch.zeros(1, T, D)).shape == (1, T, D))


cases = others.map(lambda name: CASES[name][0]()).filter(keeps_tokens)


@settings(derandomize=True, deadline=None, max_examples=15)
@given(st.lists(recurrent_layers | attention_layers | cases, min_size=1, max_size=4), flags)
def test_torch_counts_random_networks_alike(blocks: list[nn.Module], training: bool) -> None:
    network = Stack(blocks).train(training)
    confirm(network, image(), traced(network, image()))
