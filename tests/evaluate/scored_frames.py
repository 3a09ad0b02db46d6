"""A metric run on frames, as scoring runs it."""

from posegen.evaluate.metrics.metric import ClipInputs


def run(metric, frames, ground_truth=None, *, rules):
    """What a metric finds in frames that come a few at a time."""
    scorer = metric.start(ClipInputs("a", 16.0, len(frames), frames.shape[1:3], rules))
    for start in range(0, len(frames), 7):
        part = slice(start, start + 7)
        scorer.add(frames[part], None if ground_truth is None else ground_truth[part])
    return scorer.finish()
