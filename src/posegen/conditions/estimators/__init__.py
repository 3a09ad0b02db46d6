"""Keypoint and normal estimators, one file per backend."""
