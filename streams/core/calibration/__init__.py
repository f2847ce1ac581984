"""Counts on site beside what was released, to factors for places."""
