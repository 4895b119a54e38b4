"""What several benchmarks share: the rows and models they work on, encoderlab's side, the peer's side, the report."""
