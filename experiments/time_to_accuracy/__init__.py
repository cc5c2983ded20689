"""Predicted against simulated time to an accuracy."""
