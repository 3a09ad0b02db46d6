"""Metrics: frames and features in, numbers out."""
