"""Raw video -> training data: clips are found, judged and packed into shards."""
