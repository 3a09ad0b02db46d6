"""Types of the tensors passed between parts of the model."""

import torch
from jaxtyping import Float

Latents = Float[torch.Tensor, "batch channels latent_frames latent_height latent_width"]
"""Normalised latents of one segment."""
Pixels = Float[torch.Tensor, "batch 3 frames height width"]
"""Frames as input and output of the autoencoder: -1..1."""
