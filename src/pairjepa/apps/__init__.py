"""What people do with pairs and trained runs."""
