"""Raw video -> training shards: clips found, judged, given conditions and captions, packed; every decision in one index."""
