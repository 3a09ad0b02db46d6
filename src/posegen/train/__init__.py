"""Training: one loop, four stages. A recipe says what; every random choice is a function of the seed and the step."""

from posegen.callable_package import call_with

call_with(__name__, "posegen.api:train")
