"""What the adapter costs beside requests' own: a test of ratios, and a tool for people.

``python -m tests.benchmarks`` prints tables; ``test_ratios.py`` is part of every test run.
"""
