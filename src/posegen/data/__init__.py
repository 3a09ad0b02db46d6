"""Training data: shards of clips -> samples -> encoded items in a cache -> batches in an order that can be resumed."""
