"""What several test files use: oracles, writers of files, ways to run. Benchmarks use it too."""
