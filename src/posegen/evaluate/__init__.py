"""How good results are: scores against ground truth, and whether the right person is recognised in them.

Plain functions over frames and keypoints; nothing here asks which model made the frames.
"""

from posegen.callable_package import call_with

call_with(__name__, "posegen.api:evaluate")
