"""Turns a driving video into the conditions of the model: keypoints, skeletons, hand normals, subject words."""
