"""Raw video -> training shards: clips found, judged, given conditions and captions, packed; all in one index."""
