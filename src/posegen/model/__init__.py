"""The transformer, background sharing, adapters, and the ways to load them."""
