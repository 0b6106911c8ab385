"""Statistics of the loss against exact derivatives of tiny networks."""

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap
from torch.nn.functional import cross_entropy

from envs.engine.criteria.gradients import fisher_diagonal, hutchinson_diagonal, sample_gradients
from envs.engine.network.samples import Samples

NAMES = ("0", "2")


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def exact_diagonals(model: nn.Module, samples: Samples) -> dict[str, Tensor]:
    """The whole Hessian by torch.func, layer by layer, and its diagonal."""
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return samples.loss(functional_call(model, parameters | weights, (samples.inputs,)), samples.labels)

    diagonals = {}
    for name in NAMES:
        key = f"{name}.weight"
        # Reverse mode twice: the forward mode of torch.func.hessian warns of what torch itself deprecates.
        blocks = jacrev(jacrev(loss))({key: parameters[key]})[key][key]
        size = parameters[key].numel()
        diagonals[name] = blocks.reshape(size, size).diagonal().reshape(parameters[key].shape)
    return diagonals


@pytest.fixture(scope="module")
def samples() -> Samples:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(250, 4, generator=generator).double()
    return Samples(inputs, (inputs @ torch.randn(4, 3, generator=generator).double()).argmax(1))


def flat(values: dict[str, Tensor]) -> Tensor:
    return torch.cat([values[name].flatten() for name in NAMES])


def test_gradients_are_those_of_single_samples(samples: Samples) -> None:
    model = tiny()
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def loss(weights: dict[str, Tensor], inputs: Tensor, label: Tensor) -> Tensor:
        return samples.loss(functional_call(model, weights, (inputs[None],)), label[None])

    expected = vmap(grad(loss), (None, 0, 0))(parameters, samples.inputs[:20], samples.labels[:20])
    found = list(sample_gradients(model, NAMES, samples, most=20))
    for name in NAMES:
        torch.testing.assert_close(torch.stack([values[name] for values in found]), expected[f"{name}.weight"])


def test_the_fisher_is_the_mean_of_squared_gradients(samples: Samples) -> None:
    model = tiny()
    found = fisher_diagonal(model, NAMES, samples)
    total = torch.zeros(6, 4).double()
    for inputs, label in zip(samples.inputs, samples.labels, strict=True):
        model.zero_grad()
        cross_entropy(model(inputs.unsqueeze(0)), label.unsqueeze(0)).backward()
        total += model[0].weight.grad.square()
    torch.testing.assert_close(found["0"], total / 250)


def test_hutchinson_comes_within_five_percent_of_the_exact_diagonal(samples: Samples) -> None:
    model = tiny()
    few = Samples(samples.inputs[:100], samples.labels[:100])
    found = flat(hutchinson_diagonal(model, NAMES, few, seed=0, probes=6000))
    exact = flat(exact_diagonals(model, few))
    assert float((found - exact).norm() / exact.norm()) < 0.05


def test_hutchinson_is_exact_where_the_hessian_is_diagonal() -> None:
    layer = nn.Linear(3, 1, bias=False).double()
    inputs = torch.eye(3).double()
    squares = Samples(inputs, torch.zeros(3).double(), lambda outputs, labels: (outputs[:, 0] - labels).square().mean())
    found = hutchinson_diagonal(layer, [""], squares, seed=0, probes=1)[""]
    torch.testing.assert_close(found, torch.full((1, 3), 2 / 3).double())


def test_a_loss_without_curvature_has_none() -> None:
    layer = nn.Linear(3, 1).double()
    linear = Samples(torch.randn(5, 3).double(), torch.zeros(5), lambda outputs, _: outputs.mean())
    assert not hutchinson_diagonal(layer, [""], linear, seed=0)[""].any()


def test_the_fisher_ranks_as_the_hessian_does_at_an_optimum() -> None:
    """Trained until the gradient is gone, on labels that no network can tell for sure."""
    generator = torch.Generator().manual_seed(2)
    model = tiny()
    inputs = torch.randn(500, 4, generator=generator).double()
    labels = torch.multinomial((2 * tiny()(inputs)).softmax(1).detach(), 1, generator=generator).flatten()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=400, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), labels) + 1e-3 * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)
    samples = Samples(inputs, labels)
    saliency = flat({name: model.get_submodule(name).weight.detach().square() for name in NAMES})
    exact, fisher = flat(exact_diagonals(model, samples)), flat(fisher_diagonal(model, NAMES, samples))
    assert spearmanr(exact, fisher).statistic > 0.9
    assert spearmanr(saliency * exact, saliency * fisher).statistic > 0.9


def test_the_network_is_not_touched(samples: Samples) -> None:
    model = tiny().requires_grad_(False)
    with torch.no_grad():
        fisher_diagonal(model, NAMES, samples, most=5)
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())
