"""Whether a clip is worth training on: filters, and what they look at."""
