"""Training: one loop, four stages. A recipe says what; every random choice is a function of the seed and the step."""
