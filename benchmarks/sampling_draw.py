"""Drawing a token per row: inverse CDF with one uniform number a row against `torch.multinomial`."""

from __future__ import annotations

import torch

from benchmarks.interleaved import machine, measure, table
from pipeline_core.models.sampling.drawing import draw_tokens


def main() -> None:
    """Print the tables."""
    print(machine())
    for rows, vocabulary in ((64, 4096), (64, 49152)):
        logits_BV, uniform_B = torch.randn(rows, vocabulary), torch.rand(rows, dtype=torch.float64)

        def multinomial(logits_BV: torch.Tensor = logits_BV) -> torch.Tensor:
            logps_BV = logits_BV.log_softmax(-1)
            token_B1 = torch.multinomial(logps_BV.exp(), 1)
            return logps_BV.gather(-1, token_B1)

        def inverse(logits_BV: torch.Tensor = logits_BV, uniform_B: torch.Tensor = uniform_B) -> object:
            return draw_tokens(logits_BV, uniform_B)

        seconds = measure({"inverse CDF": inverse, "torch.multinomial": multinomial}, 40)
        print(table(f"{rows} rows, vocabulary {vocabulary}, log-probability included", seconds))


if __name__ == "__main__":
    main()
