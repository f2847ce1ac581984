"""Sightings to exact panes: the order in event time, who is where, what is counted; and the state, kept."""
