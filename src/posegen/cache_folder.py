"""Folder for what posegen fetches or computes once and may lose: pose models, body models, scores, digests."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """`$POSEGEN_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("POSEGEN_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("posegen")
