"""posegen: a reference image of a person + a driving video -> a video of that person moving so, of any length.

Importing this package is cheap: nothing heavy is loaded until it is used.
"""

__version__ = "0.2.0"
