"""The spherical layers agree with slow quadratures of what they are defined to be, and do not change under rotations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from e3nn import o3

from raresearch.experiments.kamnet import wigner
from raresearch.experiments.kamnet.spherical import RotationConvolution, SphereConvolution, SphericalNet, Transform

DEGREES = 3
ORDERS = 2 * DEGREES - 1


def grid_of_rotations(bandwidth):
    """Angles (β, α, γ) of a grid, and weights that sum to 1."""
    points = 2 * bandwidth
    beta, turn = wigner.polar_angles(points), wigner.azimuths(points)
    angles = torch.stack(torch.meshgrid(beta, turn, turn, indexing="ij"), -1).reshape(-1, 3)
    weights = wigner.polar_weights(points).repeat_interleave(points**2) / points**2
    return angles[:, 1], angles[:, 0], angles[:, 2], weights


def basis(degrees, alpha, beta, gamma):
    """(points, L, M, N): √(2l+1) D^l, by e3nn, without any of the tables under test."""
    table = torch.zeros(len(alpha), degrees, 2 * degrees - 1, 2 * degrees - 1, dtype=torch.float64)
    for d in range(degrees):
        inside = slice(degrees - 1 - d, degrees + d)
        table[:, d, inside, inside] = math.sqrt(2 * d + 1) * o3.wigner_D(d, alpha, beta, gamma)
    return table


def masked(degrees):
    """(L, M, N): 1 where an order does not exceed the degree."""
    mask = torch.zeros(degrees, 2 * degrees - 1, 2 * degrees - 1)
    for d in range(degrees):
        mask[d, degrees - 1 - d : degrees + d, degrees - 1 - d : degrees + d] = 1
    return mask


def random_angles(n, seed):
    generator = np.random.default_rng(seed)
    alpha, gamma = (torch.tensor(generator.uniform(-np.pi, np.pi, n)) for _ in range(2))
    return alpha, torch.tensor(np.arccos(generator.uniform(-1, 1, n))), gamma


def rotated_sphere(coefficients, matrix_of):
    """Coefficients (B, C, L²) of f(R⁻¹x) from those of f(x)."""
    parts = [coefficients[..., d**2 : (d + 1) ** 2] @ matrix_of(d).T for d in range(DEGREES)]
    return torch.cat(parts, -1)


@pytest.mark.parametrize("points", [4, 9, 19, 38])
def test_polar_weights_integrate_every_power_that_the_points_allow(points):
    cosine, weight = torch.cos(wigner.polar_angles(points)), wigner.polar_weights(points)
    for power in range(points):
        exact = 1 / (power + 1) if power % 2 == 0 else 0.0
        assert float((weight * cosine**power).sum()) == pytest.approx(exact, abs=1e-10)


@pytest.mark.parametrize(("bandwidth", "degrees"), [(2, 2), (4, 3), (5, 5), (8, 7)])
def test_values_on_the_grid_are_the_sum_over_wigner_matrices(bandwidth, degrees):
    torch.manual_seed(1)
    coefficients = torch.randn(1, 1, degrees, 2 * degrees - 1, 2 * degrees - 1) * masked(degrees)
    values = Transform(bandwidth, degrees).values(coefficients)[0, 0].flatten()
    chosen = torch.randperm(len(values))[:200]
    alpha, beta, gamma, _ = grid_of_rotations(bandwidth)
    slow = torch.einsum("plmn,lmn->p", basis(degrees, alpha[chosen], beta[chosen], gamma[chosen]), coefficients[0, 0].double())
    torch.testing.assert_close(values[chosen].double(), slow, atol=1e-5 * float(slow.abs().max()), rtol=0)


@pytest.mark.parametrize(("bandwidth", "degrees"), [(2, 2), (5, 3), (14, 14)])
def test_coefficients_of_values_are_those_that_made_them(bandwidth, degrees):
    torch.manual_seed(2)
    coefficients = torch.randn(2, 3, degrees, 2 * degrees - 1, 2 * degrees - 1) * masked(degrees)
    transform = Transform(bandwidth, degrees)
    torch.testing.assert_close(transform.coefficients(transform.values(coefficients)), coefficients, atol=1e-5, rtol=0)


def test_the_sphere_convolution_is_the_mean_of_kernel_times_signal_over_the_sphere():
    torch.manual_seed(3)
    layer, signal = SphereConvolution(2, 3, DEGREES), torch.randn(1, 2, DEGREES**2)
    kernel = (layer.weight @ layer.harmonics.T).detach().double()
    alpha, beta, gamma = random_angles(7, 4)
    slow = torch.zeros(3, 7, dtype=torch.float64)
    polar, turn = wigner.polar_angles(12), wigner.azimuths(12)
    a, b = (x.flatten() for x in torch.meshgrid(turn, polar, indexing="ij"))
    weights = wigner.polar_weights(12).repeat(12) / 12
    place = o3.angles_to_xyz(a, b)

    def harmonics(points):
        x, y = o3.xyz_to_angles(points)
        return torch.cat([math.sqrt(2 * d + 1) * o3.wigner_D(d, x, y, 0 * x)[:, :, d] for d in range(DEGREES)], -1)

    signal_there = signal[0].double() @ harmonics(place).T
    for number in range(7):
        back = place @ o3.angles_to_matrix(alpha[number], beta[number], gamma[number])  # rows times R: R⁻¹ of each
        kernel_there = torch.einsum("iok,pk->iop", kernel, harmonics(back))
        slow[:, number] = torch.einsum("ip,iop,p->o", signal_there, kernel_there, weights)
    fast = torch.einsum("olmn,plmn->op", layer(signal)[0].detach().double(), basis(DEGREES, alpha, beta, gamma))
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)


def test_the_rotation_convolution_is_the_mean_of_kernel_times_signal_over_all_rotations():
    torch.manual_seed(5)
    layer, signal = RotationConvolution(2, 3, DEGREES), torch.randn(1, 2, DEGREES, ORDERS, ORDERS) * masked(DEGREES)
    kernel = torch.einsum("iop,lmnp->iolmn", layer.weight, layer.harmonics).detach().double()
    a, b, c, weights = grid_of_rotations(4)
    signal_there = torch.einsum("ilmn,plmn->ip", signal[0].double(), basis(DEGREES, a, b, c))
    alpha, beta, gamma = random_angles(5, 6)
    slow = torch.zeros(3, 5, dtype=torch.float64)
    every = o3.angles_to_matrix(a, b, c)
    for number in range(5):
        back = o3.angles_to_matrix(alpha[number], beta[number], gamma[number]).T @ every
        there = basis(DEGREES, *o3.matrix_to_angles(back))
        slow[:, number] = torch.einsum("ip,iolmn,plmn,p->o", signal_there, kernel, there, weights)
    fast = torch.einsum("olmn,plmn->op", layer(signal)[0].detach().double(), basis(DEGREES, alpha, beta, gamma))
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)


def test_pixels_of_a_map_have_e3nns_harmonics():
    table = wigner.sphere_table(DEGREES, 6, 8)
    turn, polar = wigner.azimuths(8), wigner.polar_angles(6)
    b, a = (x.flatten() for x in torch.meshgrid(polar, turn, indexing="ij"))
    expected = o3.spherical_harmonics(list(range(DEGREES)), o3.angles_to_xyz(a, b), normalize=True, normalization="component")
    torch.testing.assert_close(table.T, expected.float(), atol=1e-5, rtol=0)


def test_features_hardly_change_under_rotations_where_shuffled_orders_change_them():
    torch.manual_seed(7)
    network = SphericalNet(2, (4, 6), (DEGREES, 2), 0.0)
    signal = torch.randn(6, 2, DEGREES**2)
    for _ in range(3):  # running means of the normalisations
        network(signal)
    network.eval()
    features = network(signal).detach()
    spread = float(features.std(0).mean())
    alpha, beta, gamma = (x[0] for x in random_angles(1, 8))
    turned = rotated_sphere(signal, lambda d: o3.wigner_D(d, alpha, beta, gamma).float())
    change = float((network(turned).detach() - features).std())
    shuffled = float((network(signal[..., torch.randperm(DEGREES**2)]).detach() - features).std())
    # The ReLU leaves the band limit, which a grid only samples: some per cent remain.
    assert change < 0.1 * spread
    assert shuffled > 5 * change
