"""From conditions to a video: planning, sampling, blending, jobs."""

from posegen.callable_package import call_with

call_with(__name__, "posegen.api:generate")
