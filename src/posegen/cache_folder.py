"""Cache folder for files that can be fetched or computed again: pose models, body models, scores, digests."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return `$POSEGEN_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("POSEGEN_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("posegen")
