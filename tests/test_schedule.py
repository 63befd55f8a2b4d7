"""What is left of a picture, and how much noise there is, at a timestep."""

import pytest
import torch

from lib_unet_viz.sampling.schedule import Schedule, sigma_of

SCHEDULE = Schedule(torch.tensor([0.8, 0.5, 0.1], dtype=torch.float64))


def test_noise_is_relative_to_the_picture() -> None:
    assert [SCHEDULE.sigma(step) for step in range(len(SCHEDULE))] == pytest.approx([0.5, 1, 3])
    assert sigma_of(SCHEDULE.alphas_cumprod).tolist() == pytest.approx([0.5, 1, 3])
    with pytest.raises(ZeroDivisionError):
        sigma_of(0.0)


def test_a_picture_is_mixed_with_the_noise_of_its_seed() -> None:
    latent = torch.ones(1, 4, 8, 8)
    noised = SCHEDULE.add_noise(latent, timestep=2, seed=3)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(noised, 0.1**0.5 * latent + 0.9**0.5 * noise)
    assert not noised.equal(SCHEDULE.add_noise(latent, timestep=2, seed=4))
