"""Reads and writes images and videos: the only code of posegen that touches codecs."""
