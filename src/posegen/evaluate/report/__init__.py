"""Scores as tables, text and pages."""
