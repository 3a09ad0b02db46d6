"""Recipes that come with posegen, as TOML files: of trainings here, of data for them in `prepare/`."""
