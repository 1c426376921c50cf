"""Measuring a float network on photos: statistics, sensitivity, moments, and what rounding does."""
