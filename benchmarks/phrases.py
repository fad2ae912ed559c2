"""How well the phrase table reads carriers' texts, status by status, and how fast. See README.md beside this file.

python -m benchmarks.phrases
"""

import time

from schemas.carriers._tables import load_tables
from tests.schemas.carriers.labelled import SHARED, Labelled, made_up, real, scores


def table(title: str, labelled: list[Labelled]) -> None:
    """Print the scores of some texts."""
    print(f"{title}: {len(labelled)} texts")
    print(f"  {'status':22}{'texts':>6}{'precision':>11}{'recall':>8}")
    for status, score in scores(labelled).items():
        print(f"  {status:22}{score.texts:6}{score.precision:11.3f}{score.recall:8.3f}")


def main() -> None:
    """Print the tables."""
    table("made up", made_up())
    texts = real()
    if texts:
        table("real", texts)
    else:
        print(f"real: none, since {SHARED} is not there")
    fresh = load_tables(None)  # remembers nothing yet
    every = [text for text, _ in [*made_up(), *texts]]
    for what in ("new texts", "texts met before"):
        started = time.perf_counter()
        for text in every:
            fresh.meaning(text)
        print(f"{what}: {len(every) / (time.perf_counter() - started):,.0f} a second")


if __name__ == "__main__":
    main()
