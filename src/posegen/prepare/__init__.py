"""Raw video -> training shards: clips found, judged, given conditions and captions, packed; all in one index."""

from posegen.callable_package import call_with

call_with(__name__, "posegen.api:prepare")
