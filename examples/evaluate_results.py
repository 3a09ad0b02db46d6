"""Score folders of results against a benchmark, and print one line a method.

python examples/evaluate_results.py benchmark.yaml report ours=results/ours theirs=results/theirs
"""

import sys

import posegen


def main() -> None:
    benchmark, output, *methods = sys.argv[1:]
    evaluation = posegen.evaluate(benchmark, dict(each.split("=", 1) for each in methods), output)
    for method in evaluation.rows:
        scores = {score.name: evaluation.cells.get((method, score.name)) for score in evaluation.scores}
        print(method, *(f"{name}={cell.value:.4f}" for name, cell in scores.items() if cell is not None))
    print(f"the report: {output}/report.html")


if __name__ == "__main__":
    main()
