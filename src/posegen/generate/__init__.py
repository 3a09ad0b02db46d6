"""From conditions to a video: planning, sampling, blending, jobs."""
