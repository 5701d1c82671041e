"""Hostile and broken input, made up by Hypothesis (in CI) and by Atheris (by hand)."""
