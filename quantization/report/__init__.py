"""What was done and what it did, as data and as a page."""
