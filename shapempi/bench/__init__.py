"""How fast the measurement is: benchmarks that users run on their own machine."""
