"""A job before anything expensive: inputs, resolved settings, needs, identity, and how it is described."""
