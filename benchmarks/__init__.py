"""The benchmarks of meshproxy: `python -m benchmarks --list`."""
