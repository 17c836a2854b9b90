"""Errors, files, memory and progress: what every package needs."""
