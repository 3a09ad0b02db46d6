"""Scores results with and without ground truth, and compares methods.

Nothing here depends on the model that made the frames.
"""

from posegen.callable_package import call_with

call_with(__name__, "posegen.api:evaluate")
