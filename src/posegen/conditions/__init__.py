"""From a driving video to what steers the model: keypoints, skeletons, hand normals, subject words."""
