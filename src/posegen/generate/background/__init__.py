"""Background sharing between base segments: the anchor, steps and layers, the store, the subject masks."""
