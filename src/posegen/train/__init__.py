"""Training: one loop, four stages. Every random choice is a function of the seed and the step."""
