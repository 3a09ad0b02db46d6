"""`posegen evaluate` and `posegen benchmark`: scoring results, and making what they are scored on."""

from posegen.apps.terminal import Terminal
from posegen.config import BenchmarkConfig, EvaluateConfig
from posegen.pipeline.job import check_writable


def run(config: EvaluateConfig | BenchmarkConfig) -> None:
    """The one or the other."""
    check_writable(config.output)
    with Terminal() as terminal:
        if isinstance(config, BenchmarkConfig):
            from posegen.evaluate.making import make_benchmark

            path = make_benchmark(config, terminal)
            terminal.say(f"wrote {path}; put results into a folder, named like its clips, and score them: "
                         f"posegen evaluate --benchmark {path} --methods NAME=FOLDER --output report")  # fmt: skip
            return
        from posegen.evaluate.evaluation import evaluate
        from posegen.evaluate.report import write_report
        from posegen.evaluate.text_reports import lines_for_terminal

        evaluation = evaluate(config, terminal)
        for line in lines_for_terminal(evaluation):
            terminal.say(line)
        for path in write_report(evaluation, config, terminal):
            terminal.say(f"wrote {path}")
