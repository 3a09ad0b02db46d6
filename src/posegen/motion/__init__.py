"""Reads motion that is no video (motion capture, animation, landmarks) and shows it to the model as keypoints."""
