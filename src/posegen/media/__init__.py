"""Pictures and videos in and out of files: the only code of posegen that touches codecs."""
