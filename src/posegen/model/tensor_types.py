"""Shapes of the tensors that pass between the model's parts; each alias lives here alone."""

import torch
from jaxtyping import Float

Latents = Float[torch.Tensor, "batch channels latent_frames latent_height latent_width"]
"""Normalised latents of one segment."""
Pixels = Float[torch.Tensor, "batch 3 frames height width"]
"""Frames as the autoencoder takes and gives them: -1..1."""
