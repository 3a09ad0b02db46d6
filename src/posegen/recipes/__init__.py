"""Built-in recipes as TOML files: for training in this folder, for preparing data in `prepare/`."""
