"""Filters: decide whether a clip is worth training on, from a few sampled frames."""
