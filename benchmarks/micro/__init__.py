"""Experiments that decided something: each compares ways to do one thing, and stays so that it can be repeated."""
