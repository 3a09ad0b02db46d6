"""`posegen evaluate`, `posegen benchmark`, `posegen ablate`: score results, make benchmarks, run ablations."""

from posegen.apps.terminal import Terminal
from posegen.config import AblateConfig, BenchmarkConfig, EvaluateConfig
from posegen.media.files import check_writable


def run(config: EvaluateConfig | BenchmarkConfig | AblateConfig) -> None:
    """One of the three."""
    check_writable(config.output)
    with Terminal() as terminal:
        if isinstance(config, BenchmarkConfig):
            from posegen.evaluate.making import make_benchmark

            path = make_benchmark(config, terminal)
            terminal.say(
                f"wrote {path}; put results into a folder, named like its clips, and score them: "
                f"posegen evaluate --benchmark {path} --methods NAME=FOLDER --output report"
            )
            return
        from posegen.evaluate.evaluation import evaluate
        from posegen.evaluate.report.html_report import write_report
        from posegen.evaluate.report.text_reports import lines_for_terminal

        if isinstance(config, AblateConfig):
            from posegen.evaluate.ablations import ablate

            evaluation, paths = ablate(config, terminal)
        else:
            evaluation = evaluate(config, terminal)
            paths = write_report(evaluation, config, terminal)
        for line in lines_for_terminal(evaluation):
            terminal.say(line)
        for path in paths:
            terminal.say(f"wrote {path}")
