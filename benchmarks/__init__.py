"""Measurements of speed; nothing in here is asserted by a test."""
