"""Training: one loop, four stages. Every random choice is a function of the seed and the step."""

from posegen.callable_package import call_with

call_with(__name__, "posegen.api:train")
