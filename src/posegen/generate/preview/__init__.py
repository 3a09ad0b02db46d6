"""A look ahead at a job from a few frames, and its pictures."""
