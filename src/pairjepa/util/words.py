"""Counts in words."""


def counted(count: int, what: str) -> str:
    """`1 image`, `2,000 images`: `what` is the word for one."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")
