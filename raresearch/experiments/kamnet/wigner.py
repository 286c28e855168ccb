"""Harmonics of the sphere and of the rotation group on their grids, as tables. Loads torch and e3nn; for workers only.

The matrices D^l(α, β, γ) = Z(α) d(β) Z(γ) are e3nn's, real and orthogonal; β is the polar angle, α the azimuth. A function on
rotations is f = Σ √(2l+1) F^l_mn D^l_mn, with coefficients ⟨f, √(2l+1) D^l_mn⟩ in the mean over all rotations; on the
sphere n = 0. In the real basis d(β) mixes cosines (m ≥ 0) with cosines and sines with sines only, so that

    f(α, β, γ) = Σ_p Σ_mn A_pm(α) B_pn(γ) Σ_l √(2l+1) T_plmn(β) F^l_mn,     p in (cosine, sine),

which is three small sums instead of one over everything.

Legend: L degrees (l < L), M = N = 2L - 1 orders, b bandwidth of a grid (2b points an axis), p = 2 parities, K points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from e3nn import o3

Table = torch.Tensor


@lru_cache(maxsize=64)
def polar_weights(points: int) -> Table:
    """(points,) quadrature weights of polar angles (j + ½) π / points, which sum to 1 (Driscoll and Healy, 1994).

    Exact for harmonics below degree ``points``; derived by solving for the integrals of Legendre polynomials.
    """
    angle = polar_angles(points)
    legendre = torch.stack([torch.special.legendre_polynomial_p(torch.cos(angle), degree) for degree in range(points)])
    integrals = torch.zeros(points, dtype=torch.float64)
    integrals[0] = 1.0
    weights: Table = torch.linalg.solve(legendre, integrals)
    return weights


def polar_angles(points: int) -> Table:
    """(points,) rad."""
    return (torch.arange(points, dtype=torch.float64) + 0.5) * math.pi / points


def azimuths(points: int) -> Table:
    """(points,) rad: middles of even cells that begin at -π, as the hit maps' do."""
    return (torch.arange(points, dtype=torch.float64) + 0.5) * 2 * math.pi / points - math.pi


@lru_cache(maxsize=512)
def _small(degree: int, angles: tuple[float, ...]) -> Table:
    """(β, 2l+1, 2l+1): d^l."""
    beta = torch.tensor(angles, dtype=torch.float64)
    small: Table = o3.wigner_D(degree, torch.zeros_like(beta), beta, torch.zeros_like(beta))
    return small


def _turn(degrees: int, angles: Table) -> tuple[Table, Table]:
    """(p, α, M) each: rows A_pm of Z(α) and columns B_pn of Z(γ)."""
    top = o3.wigner_D(degrees - 1, angles, torch.zeros_like(angles), torch.zeros_like(angles))
    orders = torch.arange(2 * degrees - 1)
    size = (orders - (degrees - 1)).abs()
    cosine, sine = degrees - 1 + size, degrees - 1 - size
    rows = torch.stack([top[:, orders, cosine], top[:, orders, sine] * (size > 0)])
    columns = torch.stack([top[:, cosine, orders], top[:, sine, orders] * (size > 0)])
    return rows, columns


def _mixing(degrees: int, angles: Table) -> Table:
    """(p, β, L, M, N): √(2l+1) d^l at ±|m|, ±|n|; zero where an order exceeds the degree."""
    orders = 2 * degrees - 1
    table = torch.zeros(2, len(angles), degrees, orders, orders, dtype=torch.float64)
    for degree in range(degrees):
        small = _small(degree, tuple(angles.tolist())) * math.sqrt(2 * degree + 1)
        inside = torch.arange(degrees - 1 - degree, degrees + degree)
        size = (inside - (degrees - 1)).abs()
        for parity, place in enumerate((degree + size, degree - size)):
            table[parity, :, degree, inside[0] : inside[-1] + 1, inside[0] : inside[-1] + 1] = small[:, place][:, :, place]
    return table


@dataclass(frozen=True, slots=True)
class Grid:
    """Tables of one grid of rotations and one number of degrees: ``rows`` (p, α, M), ``columns`` (p, γ, N),
    ``mixing`` (p, β, L, M, N), ``weights`` (β,)."""

    rows: Table
    columns: Table
    mixing: Table
    weights: Table


@lru_cache(maxsize=64)
def rotation_grid(bandwidth: int, degrees: int) -> Grid:
    """Tables, float32, of the grid of ``bandwidth`` for functions of ``degrees`` degrees."""
    points = 2 * bandwidth
    rows, columns = _turn(degrees, azimuths(points))
    tables = rows, columns, _mixing(degrees, polar_angles(points)), polar_weights(points)
    return Grid(*(t.float() for t in tables))


@lru_cache(maxsize=64)
def sphere_table(degrees: int, rings: int, sectors: int) -> Table:
    """(L², rings · sectors), float32: √(2l+1) D^l_m0 at the middle of every pixel, ring by ring."""
    rows, _ = _turn(degrees, azimuths(sectors))
    mixing = _mixing(degrees, polar_angles(rings))[0, ..., degrees - 1]  # (β, L, M): cosines, n = 0
    parts = []
    for degree in range(degrees):
        inside = slice(degrees - 1 - degree, degrees + degree)
        parts.append(torch.einsum("bm,am->mba", mixing[:, degree, inside], rows[0][:, inside]).flatten(1))
    return torch.cat(parts).float()


@lru_cache(maxsize=64)
def sphere_points(degrees: int, rings: int, sectors: int, largest: float) -> Table:
    """(L², K), float32: the same at points near the pole: ``rings`` polar angles up to ``largest`` rad, ``sectors`` azimuths."""
    polar = (torch.arange(rings, dtype=torch.float64) + 1) * largest / rings
    turn = azimuths(sectors)
    alpha, beta = (x.flatten() for x in torch.meshgrid(turn, polar, indexing="ij"))
    parts = [math.sqrt(2 * d + 1) * o3.wigner_D(d, alpha, beta, torch.zeros_like(beta))[:, :, d].T for d in range(degrees)]
    return torch.cat(parts).float()


@lru_cache(maxsize=64)
def rotation_points(degrees: int, turns: int, twists: int, largest: float) -> Table:
    """(L, M, N, K), float32: √(2l+1) D^l at points of the equator: β = π/2, ``turns`` angles α, ``twists`` angles γ up to
    ±``largest`` rad. Zero where an order exceeds the degree."""
    gamma = torch.linspace(-largest, largest, twists, dtype=torch.float64)
    alpha, gamma = (x.flatten() for x in torch.meshgrid(azimuths(turns), gamma, indexing="ij"))
    beta = torch.full_like(alpha, math.pi / 2)
    orders = 2 * degrees - 1
    table = torch.zeros(degrees, orders, orders, len(alpha), dtype=torch.float64)
    for d in range(degrees):
        inside = slice(degrees - 1 - d, degrees + d)
        table[d, inside, inside] = math.sqrt(2 * d + 1) * o3.wigner_D(d, alpha, beta, gamma).permute(1, 2, 0)
    return table.float()
