"""Side-by-side timings: `python -m benchmarks.NAME`. Ratios of interleaved runs; absolute times mean little."""
