"""Job server with page and HTTP API; local pages for screening clips and rating videos; their access checks."""
