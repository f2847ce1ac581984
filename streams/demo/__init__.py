"""`throng demo`: the whole job, live, on this machine."""
