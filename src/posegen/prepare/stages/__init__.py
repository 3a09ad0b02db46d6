"""The work on one video or clip: cuts, samples, packing, encoding."""
