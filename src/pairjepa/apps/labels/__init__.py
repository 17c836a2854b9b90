"""Zero-shot labels, and their accuracy where the truth is known."""
