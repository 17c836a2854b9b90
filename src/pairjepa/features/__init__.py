"""What a frozen backbone makes of every image and caption, computed once and kept on disk."""
