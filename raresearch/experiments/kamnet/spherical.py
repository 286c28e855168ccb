"""Convolutions on the sphere and on rotations (Cohen et al., arXiv:1801.10130). Loads torch; imported by workers only.

Legend: B events, I, O features in and out, L degrees, M = N = 2L - 1 orders, K points of a kernel, b bandwidth of a grid.
Coefficients of a sphere are (B, I, L²), those of rotations (B, I, L, M, N) with zeros where an order exceeds the degree.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn

from raresearch.experiments.kamnet import wigner

_NEAR = math.pi / 8  # rad: how far a kernel on the sphere reaches; the same for the twist of one on rotations


class SphereConvolution(nn.Module):
    """(ψ ⋆ f)(R) = mean over the sphere of ψ(R⁻¹x) f(x): (B, I, L²) → (B, O, L, M, N).

    The kernel is given by its weights at points near the pole (the paper's program: "near identity").
    """

    def __init__(self, inputs: int, outputs: int, degrees: int, rings: int = 3, sectors: int = 8) -> None:
        super().__init__()
        self.degrees = degrees
        points = rings * sectors
        self.weight = nn.Parameter(torch.randn(inputs, outputs, points) / math.sqrt(inputs * points))
        self.register_buffer("harmonics", wigner.sphere_points(degrees, rings, sectors, _NEAR), persistent=False)

    def forward(self, sphere: torch.Tensor) -> torch.Tensor:
        kernel = self.weight @ self.harmonics.T  # type: ignore[operator]
        parts = []
        for degree in range(self.degrees):
            mine = slice(degree**2, (degree + 1) ** 2)
            product = torch.einsum("bim,ion->bomn", sphere[..., mine], kernel[..., mine]) / math.sqrt(2 * degree + 1)
            edge = self.degrees - 1 - degree
            parts.append(nn.functional.pad(product, (edge, edge, edge, edge)))
        return torch.stack(parts, 2)


class RotationConvolution(nn.Module):
    """(ψ ⋆ f)(R) = mean over rotations Q of ψ(R⁻¹Q) f(Q): (B, I, L, M, N) → (B, O, L, M, N).

    The kernel is given by its weights at points of the equator of rotations, as in the paper's program.
    """

    def __init__(self, inputs: int, outputs: int, degrees: int, turns: int = 32, twists: int = 2) -> None:
        super().__init__()
        self.degrees = degrees
        points = turns * twists
        self.weight = nn.Parameter(torch.randn(inputs, outputs, points) / math.sqrt(inputs * points))
        self.register_buffer("harmonics", wigner.rotation_points(degrees, turns, twists, _NEAR), persistent=False)

    def forward(self, coefficients: torch.Tensor) -> torch.Tensor:
        parts = []
        for degree in range(self.degrees):
            edge = self.degrees - 1 - degree
            inside = slice(edge, edge + 2 * degree + 1)
            harmonics = self.harmonics[degree, inside, inside]  # type: ignore[index]
            # A kernel of degree l has no more freedom than (2l+1)² numbers; of few points, fewer.
            kernel = torch.einsum("iop,nkp->iokn", self.weight, harmonics) / math.sqrt(2 * degree + 1)
            product = torch.einsum("bimk,iokn->bomn", coefficients[:, :, degree, inside, inside], kernel)
            parts.append(nn.functional.pad(product, (edge, edge, edge, edge)))
        return torch.stack(parts, 2)


class Transform(nn.Module):
    """Between coefficients of ``degrees`` degrees and values on the grid of ``bandwidth`` (2b, 2b, 2b) = (β, α, γ)."""

    def __init__(self, bandwidth: int, degrees: int) -> None:
        super().__init__()
        grid = wigner.rotation_grid(bandwidth, degrees)
        for name in ("rows", "columns", "mixing", "weights"):
            self.register_buffer(name, getattr(grid, name), persistent=False)

    def values(self, coefficients: torch.Tensor) -> torch.Tensor:
        """(B, O, L, M, N) → (B, O, β, α, γ)."""
        mixed = torch.einsum("xolmn,pjlmn->xojpmn", coefficients, self.mixing)
        twisted = torch.einsum("xojpmn,pgn->xojpmg", mixed, self.columns)
        return torch.einsum("xojpmg,pam->xojag", twisted, self.rows)

    def coefficients(self, values: torch.Tensor) -> torch.Tensor:
        """(B, O, β, α, γ) → (B, O, L, M, N), by quadrature."""
        points = values.shape[-1]
        turned = torch.einsum("xojag,pam->xojpmg", values, self.rows) / points**2
        twisted = torch.einsum("xojpmg,pgn->xojpmn", turned, self.columns)
        weighted = twisted * self.weights[:, None, None, None]  # type: ignore[index]
        return torch.einsum("xojpmn,pjlmn->xolmn", weighted, self.mixing)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """(B, O, β, α, γ) → (B, O): over all rotations (Haar)."""
        return torch.einsum("xojag,j->xo", values, self.weights) / values.shape[-1] ** 2


class SphericalNet(nn.Module):
    """Coefficients of context images (B, C, L²) → features that no rotation changes (B, O).

    One convolution on the sphere, then on rotations; between them a normalisation, a ReLU on the grid and dropout; at the end
    the mean over all rotations. Degrees of layer i are below ``bandwidths[i]``; its grid is as fine as those need, times
    ``finer``: a ReLU leaves the band limit, and a finer grid samples what it makes with less error.
    """

    def __init__(
        self, inputs: int, features: tuple[int, ...], bandwidths: tuple[int, ...], dropout: float, finer: int = 1
    ) -> None:
        super().__init__()
        first, *others = features
        self.first = SphereConvolution(inputs, first, bandwidths[0])
        self.others = nn.ModuleList(
            RotationConvolution(a, b, degrees) for a, b, degrees in zip(features, others, bandwidths[1:], strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm3d(n) for n in features)
        self.to_grid = nn.ModuleList(Transform(finer * b, b) for b in bandwidths)
        self.from_grid = nn.ModuleList(Transform(finer * b, after) for b, after in pairwise(bandwidths))
        self.dropout = dropout

    def forward(self, sphere: torch.Tensor) -> torch.Tensor:
        layers = [self.first, *self.others]
        current = sphere
        for number, (layer, norm, grid) in enumerate(zip(layers, self.norms, self.to_grid, strict=True)):
            values = torch.relu(norm(grid.values(layer(current))))  # type: ignore[operator]
            if number == len(layers) - 1:
                break
            # A whole feature of an event is dropped: single points would break the symmetry.
            keep = nn.functional.dropout(torch.ones_like(values[..., :1, :1, :1]), self.dropout, self.training)
            current = self.from_grid[number].coefficients(values * keep)  # type: ignore[operator]
        result: torch.Tensor = grid.mean(values)  # type: ignore[operator]
        return result
