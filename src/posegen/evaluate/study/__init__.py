"""User studies: questions, answers and results."""
