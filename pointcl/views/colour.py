"""Random colours and intensities."""

from __future__ import annotations

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114])


def colour_shift(colour: np.ndarray, most: float, random: np.random.Generator) -> np.ndarray:
    """One U(-most, most) added to each channel: (N, 3) in [0, 1], cut to [0, 1]."""
    return np.clip(colour + random.uniform(-most, most, 3), 0.0, 1.0)


def colour_contrast(colour: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blend with the colours stretched to the full range of each channel, by U(0, 1)."""
    if len(colour) == 0:
        return colour
    low, span = colour.min(0), np.ptp(colour, axis=0)
    full = np.where(span > 0, (colour - low) / np.where(span > 0, span, 1.0), colour)
    share = random.uniform()
    return (1 - share) * colour + share * full


def colour_noise(colour: np.ndarray, sigma: float, random: np.random.Generator) -> np.ndarray:
    """Normal noise on every value, cut to [0, 1]."""
    return np.clip(colour + random.normal(0.0, sigma, colour.shape), 0.0, 1.0)


def grey(colour: np.ndarray) -> np.ndarray:
    """Three equal channels, of the colour's luma."""
    return np.repeat((colour @ LUMA)[:, None], 3, axis=1)


def intensity_gain(intensity: np.ndarray, most: float, random: np.random.Generator) -> np.ndarray:
    """One factor U(1 - most, 1 + most) for all values, cut to [0, 1]."""
    return np.clip(intensity * random.uniform(1 - most, 1 + most), 0.0, 1.0)


def intensity_noise(intensity: np.ndarray, sigma: float, random: np.random.Generator) -> np.ndarray:
    """Normal noise on every value, cut to [0, 1]."""
    return np.clip(intensity + random.normal(0.0, sigma, intensity.shape), 0.0, 1.0)
